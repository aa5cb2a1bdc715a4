import { FairleadError } from '#shared/errors.ts';
import type { Executor } from './executor.ts';
import type { Host } from './host.ts';
import type { Role } from './roles.ts';

/** Deletes a stopped instance with everything of it. One that is not here is deleted already. */
export const remove: Executor<'delete'> = async ({ id, epoch }, _context, host) => {
  if (host.roles.find(id)) {
    const role = host.roles.require(id, epoch);
    if ((await host.containers.status(id)) !== 'Stopped') {
      throw new FairleadError(
        'wrong_state',
        `The instance "${role.spec.name}" is running. Stop it first, or use --force.`,
      );
    }
    await removeAll(role, host);
  }
  return { seq: host.observer.next(), result: { kind: 'deleted', id } };
};

/** Removes all of a stopped instance. The role goes last: a crash in between leaves what the next try needs. */
export async function removeAll({ spec }: Role, host: Host): Promise<void> {
  await host.containers.forget(spec);
  await host.disks.remove(spec.id);
  await host.roles.remove(spec.id);
}
