import { assertAllowed } from '#shared/config/restrictions.ts';
import { told, type Executor } from './executor.ts';

/** Replaces configuration and devices. When the change cannot be applied, the old ones count again. */
export const update: Executor<'update'> = async ({ instance: next }, _context, host) => {
  const before = host.roles.require(next.id, next.epoch);
  assertAllowed(next, (await host.policy()).ceiling, 'host');
  const after = await host.roles.change(next.id, { spec: next });
  try {
    await host.containers.update(before.spec, next);
  } catch (error) {
    await host.roles.change(next.id, { spec: before.spec });
    await host.containers.update(next, before.spec);
    throw error;
  }
  return told(await host.observer.observe(after));
};
