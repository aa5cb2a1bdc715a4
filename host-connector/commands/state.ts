import { assertAllowed } from '#shared/config/restrictions.ts';
import { FairleadError } from '#shared/errors.ts';
import type { InstanceStatus, StateAction } from '#shared/link/commands.ts';
import { told, type CommandOf, type Executor } from './executor.ts';
import type { Host } from './host.ts';
import type { Role } from './roles.ts';

/** The states an action can start from; in others it is refused, in LXD's words. */
const FROM: Readonly<Record<StateAction, readonly InstanceStatus[]>> = {
  start: ['Stopped'],
  stop: ['Running', 'Frozen'],
  restart: ['Running', 'Frozen'],
  freeze: ['Running'],
  unfreeze: ['Frozen'],
};

/** Starts, stops, restarts, freezes, unfreezes. */
export const state: Executor<'state'> = async (command, _context, host) => {
  const role = host.roles.require(command.id, command.epoch);
  const status = await host.containers.status(command.id);
  if (!FROM[command.action].includes(status)) throw wrongState(role.spec.name, status, command.action);
  await act(command, role, host);
  return told(await host.observer.observe(role));
};

async function act(command: CommandOf<'state'>, role: Role, host: Host): Promise<void> {
  const { containers } = host;
  const { spec } = role;
  const how = { force: command.force, timeoutSeconds: command.timeout };
  switch (command.action) {
    case 'start':
      return startAsOwner(role, host);
    case 'stop':
      await containers.stop(spec, how);
      return host.roles.power(spec.id, 'off');
    case 'restart':
      await containers.stop(spec, how);
      return startAsOwner(role, host);
    case 'freeze':
      return containers.freeze(spec.id);
    case 'unfreeze':
      return containers.unfreeze(spec.id);
  }
}

/** Starts an instance and notes it. The policy is asked each time: it may have been tightened since the instance was made. */
export async function startAsOwner({ spec }: Role, host: Host): Promise<void> {
  assertAllowed(spec, (await host.policy()).ceiling, 'host');
  await host.containers.start(spec);
  await host.roles.power(spec.id, 'on');
}

function wrongState(name: string, status: InstanceStatus, action: StateAction): FairleadError {
  const already = (action === 'start' && status !== 'Stopped') || (action !== 'start' && status === 'Stopped');
  const is = status.toLowerCase();
  return new FairleadError(
    'wrong_state',
    already && (action === 'start' || action === 'stop')
      ? `The instance "${name}" is already ${is}`
      : `The instance "${name}" is ${is}, so it cannot ${action}`,
  );
}
