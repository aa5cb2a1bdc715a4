import { FairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import { MAX_PAYLOAD_BYTES } from '#shared/link/limits.ts';
import type { InstanceExecPost } from '#shared/lxd/exec.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { Ports } from '../../ports/ports.ts';
import { offlineSince, onceBack, online } from '../hosts/host.ts';
import { newOperation, renderOperation } from '../operations/operation.ts';
import { newSecret, sha256 } from '../secrets.ts';
import type { Actor } from '../trust/actor.ts';
import { findInstance, type InstanceName } from './lookup.ts';

/** How long the secrets of an exec wait to be used (security.md §2.4). */
export const ATTACH_MS = 30_000;

/**
 * Prepares a command in a running instance. Nothing runs before somebody attached with the secrets, which stand in this answer and
 * nowhere else.
 * @throws FairleadError `wrong_state`, `host_offline`, `bad_request`.
 */
export async function execInstance(
  ports: Ports,
  actor: Actor,
  name: InstanceName,
  request: InstanceExecPost,
): Promise<Operation> {
  if (!request['wait-for-websocket']) {
    throw new FairleadError('bad_request', 'Only exec over websockets is supported: set "wait-for-websocket" to true.');
  }
  const { instance, host } = await findInstance(ports, name);
  if (instance.data.status !== 'Running') {
    const frozen = instance.data.status === 'Frozen';
    throw new FairleadError(
      'wrong_state',
      `Instance "${name.name}" is ${frozen ? 'frozen. Resume it first.' : 'not running. Start it first.'}`,
    );
  }
  const present = await onceBack(ports, host.data);
  if (!online(present)) {
    throw new FairleadError(
      'host_offline',
      `Host "${present.name}" is ${offlineSince(present)}; a command can run when it is back.`,
    );
  }
  const command = toCommand(instance.data.id, request);
  const fds = request.interactive ? ['0', 'control'] : ['0', '1', '2', 'control'];
  const secrets = Object.fromEntries(fds.map((fd) => [fd, newSecret(ports.random)]));
  const now = ports.clock.now();
  const { operation, write } = newOperation({
    id: ports.random.uuid(),
    project: name.project,
    class: 'websocket',
    description: 'Executing command',
    actor: actor.user,
    now,
    deadline: now + ATTACH_MS,
    resources: { instances: [`/1.0/instances/${name.name}`] },
    host: host.data.id,
    secrets: Object.fromEntries(Object.entries(secrets).map(([fd, secret]) => [fd, sha256(secret)])),
    request: command,
  });
  await ports.records.transact([write]);
  const rendered = renderOperation(operation, host.data.name);
  return {
    ...rendered,
    metadata: { ...rendered.metadata, fds: secrets, command: request.command, interactive: request.interactive },
  };
}

function toCommand(id: string, request: InstanceExecPost): HostCommand {
  const { command, environment, cwd, user, group, interactive, width, height } = request;
  const exec: HostCommand = {
    kind: 'exec',
    id,
    stream: '',
    ticket: '',
    command,
    environment,
    cwd,
    user,
    group,
    interactive,
    width,
    height,
  };
  if (Buffer.byteLength(JSON.stringify(exec)) > MAX_PAYLOAD_BYTES) {
    throw new FairleadError(
      'bad_request',
      `The command with its environment is over ${MAX_PAYLOAD_BYTES} bytes. Pass long input on stdin.`,
    );
  }
  return exec;
}
