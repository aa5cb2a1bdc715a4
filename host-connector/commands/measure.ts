import { told, type Executor } from './executor.ts';

/** Measures an instance now. */
export const measure: Executor<'measure'> = async ({ id }, _context, host) =>
  told(await host.observer.observe(host.roles.require(id)));
