import type { Executor } from './executor.ts';

/** The host's facts, with those that take a moment. */
export const facts: Executor<'facts'> = async (_command, _context, host) => {
  const seq = host.observer.next();
  return { seq, result: { kind: 'facts', facts: await host.facts() } };
};
