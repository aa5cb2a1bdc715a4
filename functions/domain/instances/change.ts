import { openCeiling } from '#shared/config/policy.ts';
import { assertAllowed } from '#shared/config/restrictions.ts';
import { keepVolatile } from '#shared/config/volatile.ts';
import { FairleadError } from '#shared/errors.ts';
import type { InstancePatch, InstancePut, InstanceStatePut } from '#shared/lxd/instance.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored } from '../../ports/records.ts';
import { decide } from '../decide.ts';
import { perform } from '../effects.ts';
import { offlineSince, online, type HostRecord } from '../hosts/host.ts';
import { renderOperation, type OperationRecord } from '../operations/operation.ts';
import { profilesOf, type ProfileRecord } from '../profiles/profile.ts';
import type { Actor } from '../trust/actor.ts';
import { checkProfiles, expanded, instanceEtag, specOf, type InstanceRecord } from './instance.ts';
import { findInstance, type Found, type InstanceName } from './lookup.ts';
import { beginTask, type Begun, type TaskInput } from './task.ts';

/** Seconds a clean stop may take when the client leaves it to us (`timeout: -1`), as in LXD. */
export const DEFAULT_STOP_TIMEOUT_S = 600;
const MAX_STOP_TIMEOUT_S = 3600;

/** What of an instance a PUT or PATCH may change. */
export type Editable = Pick<InstanceRecord, 'description' | 'config' | 'devices' | 'profiles' | 'ephemeral'>;

/** Starts, stops, restarts, freezes or unfreezes. @throws FairleadError `wrong_state`, `busy`, `not_found`. */
export function changeState(
  ports: Ports,
  actor: Actor,
  name: InstanceName,
  request: InstanceStatePut,
): Promise<Operation> {
  return run(ports, actor, name, (found, input) => planStateChange(found, request, input));
}

/** Pure: one state change. */
export function planStateChange({ instance, host }: Found, request: InstanceStatePut, input: TaskInput): Begun {
  const { id, epoch, name, status } = instance.data;
  if (request.stateful)
    throw new FairleadError(
      'bad_request',
      'Stateful stop and start come with live migration; leave out --stateful for now.',
    );
  const refusal = refuse(request.action, status, request.force);
  if (refusal !== undefined) throw new FairleadError('wrong_state', `Instance "${name}" ${refusal}`);
  const timeout = request.timeout > 0 ? Math.min(request.timeout, MAX_STOP_TIMEOUT_S) : DEFAULT_STOP_TIMEOUT_S;
  const { action, force } = request;
  return beginTask(
    instance,
    host.data,
    { action, description: DESCRIPTION[action], command: { kind: 'state', id, epoch, action, force, timeout } },
    input,
  );
}

const DESCRIPTION = {
  start: 'Starting instance',
  stop: 'Stopping instance',
  restart: 'Restarting instance',
  freeze: 'Freezing instance',
  unfreeze: 'Unfreezing instance',
} as const;

/** Why this action makes no sense in this state, in LXD's words. */
function refuse(
  action: InstanceStatePut['action'],
  status: InstanceRecord['status'],
  force: boolean,
): string | undefined {
  if (status === 'Error') return undefined;
  const running = status === 'Running' || status === 'Frozen';
  switch (action) {
    case 'start':
      return running ? 'is already running' : undefined;
    case 'stop':
      if (status === 'Frozen' && !force) return 'is frozen and cannot stop cleanly. Resume it first, or use --force';
      return running ? undefined : 'is already stopped';
    case 'restart':
    case 'freeze':
      return status === 'Running' ? undefined : 'is not running';
    case 'unfreeze':
      return status === 'Frozen' ? undefined : 'is not frozen';
  }
}

/**
 * Replaces what may be changed. The registry takes it over when the host has, so a refusal by the host changes nothing.
 * @throws FairleadError `etag_mismatch`, `bad_config`, `busy`.
 */
export function updateInstance(
  ports: Ports,
  actor: Actor,
  name: InstanceName,
  put: InstancePut | InstancePatch,
  how: { readonly patch: boolean; readonly ifMatch: string | undefined },
): Promise<Operation> {
  return run(ports, actor, name, async (found, input) => {
    const profiles = await profilesOf(ports.records, name.project);
    return planUpdate(found, profiles, put, how, input);
  });
}

/** Pure: one change of configuration. */
export function planUpdate(
  { instance, host }: Found,
  profiles: ReadonlyMap<string, ProfileRecord>,
  put: InstancePut | InstancePatch,
  how: { readonly patch: boolean; readonly ifMatch: string | undefined },
  input: TaskInput,
): Begun {
  const current = instance.data;
  if (how.ifMatch !== undefined && how.ifMatch !== instanceEtag(current)) {
    throw new FairleadError(
      'etag_mismatch',
      `Instance "${current.name}" was changed by somebody else meanwhile. Read it again and repeat your change.`,
    );
  }
  const next = edited(current, put, how.patch);
  checkProfiles(next.profiles, profiles);
  assertAllowed(expanded(next, profiles), openCeiling, 'project');
  return beginTask(
    instance,
    host.data,
    {
      action: 'update',
      description: 'Updating instance',
      command: { kind: 'update', instance: specOf({ ...current, ...next }, profiles) },
      request: next,
    },
    input,
  );
}

function edited(current: InstanceRecord, put: InstancePut | InstancePatch, patch: boolean): Editable {
  const base = patch ? current : { config: {}, devices: {} };
  return {
    description: put.description ?? current.description,
    config: keepVolatile({ ...base.config, ...put.config }, current.config),
    devices: { ...base.devices, ...put.devices },
    profiles: put.profiles ?? (patch ? current.profiles : ['default']),
    ephemeral: put.ephemeral ?? current.ephemeral,
  };
}

/** Applies changed profiles to one of their instances. */
export function reapplyProfiles(ports: Ports, actor: Actor, found: Found): Promise<Operation> {
  const { instance, host } = found;
  const name = { project: instance.data.project, name: instance.data.name, target: host.data.name };
  return updateInstance(ports, actor, name, {}, { patch: true, ifMatch: undefined });
}

/** Deletes a stopped instance with everything it has. @throws FairleadError `wrong_state` while it runs. */
export function deleteInstance(ports: Ports, actor: Actor, name: InstanceName): Promise<Operation> {
  return run(ports, actor, name, ({ instance, host }, input) => planDelete({ instance, host: host.data }, input));
}

/** Pure: one deletion. */
export function planDelete(
  { instance, host }: { readonly instance: Stored<InstanceRecord>; readonly host: HostRecord },
  input: TaskInput,
): Begun {
  const { id, epoch, name, status } = instance.data;
  if (status === 'Running' || status === 'Frozen') {
    throw new FairleadError('wrong_state', `Instance "${name}" is running. Stop it first, or delete it with --force.`);
  }
  return beginTask(
    instance,
    host,
    { action: 'delete', description: 'Deleting instance', command: { kind: 'delete', id, epoch } },
    input,
  );
}

async function run(
  ports: Ports,
  actor: Actor,
  name: InstanceName,
  plan: (found: Found, input: TaskInput) => Begun | Promise<Begun>,
): Promise<Operation> {
  const input: TaskInput = {
    actor: actor.user,
    operation: ports.random.uuid(),
    command: ports.random.uuid(),
    now: ports.clock.now(),
  };
  const { value, effects } = await decide(
    ports,
    async () => plan(await findInstance(ports, name), input),
    (decision) => decision,
  );
  await perform(ports, effects);
  return renderBegun(value);
}

function renderBegun({ operation, host }: { operation: OperationRecord; host: HostRecord }): Operation {
  return renderOperation(
    operation,
    host.name,
    online(host) ? undefined : `Waiting for host ${host.name}, ${offlineSince(host)}`,
  );
}
