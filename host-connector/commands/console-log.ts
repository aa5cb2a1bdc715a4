import type { Executor } from './executor.ts';

/** The end of what an instance wrote to its console. */
export const consoleLog: Executor<'console-log'> = async ({ id }, _context, host) => {
  const seq = host.observer.next();
  const text = await host.containers.consoleLog(host.roles.require(id).spec.id);
  return { seq, result: { kind: 'console-log', text } };
};
