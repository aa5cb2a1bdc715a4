import { assertAllowed } from '#shared/config/restrictions.ts';
import { FairleadError, messageOf } from '#shared/errors.ts';
import { told, type Executor } from './executor.ts';
import type { Host } from './host.ts';
import { downloadProgress } from './progress.ts';
import type { Role } from './roles.ts';

/** Makes an instance: all of it, or nothing is left. The role file comes first, so that a crash leaves a trace to clean up by. */
export const create: Executor<'create'> = async ({ instance: spec, start }, context, host) => {
  assertAllowed(spec, (await host.policy()).ceiling, 'host');
  const present = host.roles.find(spec.id);
  if (present)
    throw new FairleadError('already_exists', `This host holds "${present.spec.name}" already, with the same id.`);
  const role = await host.roles.add(spec);
  try {
    if (spec.image) {
      const { fingerprint } = spec.image;
      const progress = downloadProgress(
        (text, percent) => context.progress(text, percent),
        () => performance.now(),
      );
      await host.images.ensure(fingerprint, () => context.locate(fingerprint), progress);
    }
    context.signal.throwIfAborted();
    await host.disks.create(spec);
    context.signal.throwIfAborted();
    if (start) await host.containers.start(spec);
    const made = await host.roles.change(spec.id, { ready: true, power: start ? 'on' : 'off' });
    return told(await host.observer.observe(made));
  } catch (error) {
    await undoCreate(role, host);
    throw error;
  }
};

/** Removes everything of an instance that was begun. What cannot be removed now is tried again later: its role stays. */
export async function undoCreate(role: Role, host: Host): Promise<void> {
  const { spec } = role;
  try {
    await host.containers.stop(spec, { force: true, timeoutSeconds: 1 });
    await host.containers.forget(spec);
    await host.disks.remove(spec.id);
    await host.roles.remove(spec.id);
  } catch (error) {
    host.log('error', `what was made of "${spec.name}" (${spec.id}) could not be removed yet: ${messageOf(error)}`);
  }
}
