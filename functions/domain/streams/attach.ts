import { FairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import { STREAM_GRACE_MS } from '#shared/link/limits.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored, Write } from '../../ports/records.ts';
import { decide, type Effect } from '../decide.ts';
import { perform } from '../effects.ts';
import { hostById, offlineSince, onceBack, online, type HostRecord } from '../hosts/host.ts';
import { deliverCommand, enqueueCommand } from '../hosts/outbox.ts';
import { keys } from '../keys.ts';
import { ended, type OperationRecord } from '../operations/operation.ts';
import { matches } from '../secrets.ts';
import { streamIsOver, ticketForClient, type StreamRecord } from './tickets.ts';

/** How long an exec may take from attach to result before its operation is given up (ms). */
const EXEC_DEADLINE_MS = 7 * 24 * 60 * 60_000;
/** How long its host may take to hear of it: no command begins when whoever wanted it has given up. */
export const EXEC_START_MS = STREAM_GRACE_MS;

interface Attach {
  readonly id: string;
  readonly op: string;
  readonly secrets: Readonly<Record<string, string>>;
}

interface Client {
  readonly connection: string;
  readonly boot: string;
  readonly user: string;
}

/**
 * A client presents the secrets of its operation: they are spent, the stream is written down, and the host is commanded. The host
 * begins at once; the client may send as soon as it is told.
 * @throws FairleadError `not_found` for an operation that cannot be attached, `forbidden` for a wrong secret, `host_offline`.
 */
export async function attach(ports: Ports, project: string, client: Client, request: Attach): Promise<void> {
  const stream = ports.random.uuid();
  const command = ports.random.uuid();
  const { value, effects } = await decide(
    ports,
    () => load(ports, project, request.op, client),
    ({ operation, host, attached }) => {
      // Frames come twice, and are said again: the same end is told the same again, on whatever connection it has by now.
      if (attached !== undefined) {
        const record: StreamRecord = { ...attached.data, client: client.connection };
        const value = { record, hostConnection: host.connection ?? '', command: operation.data.command };
        const key = keys.stream(record.id);
        const moved = { op: 'put', key, data: record, when: { rev: attached.rev } } as const;
        return { writes: attached.data.client === record.client ? [] : [moved], effects: [], value };
      }
      if (!online(host)) {
        throw new FairleadError(
          'host_offline',
          `Host "${host.name}" is ${offlineSince(host)}; a terminal needs it now.`,
        );
      }
      verifySecrets(operation.data, request.secrets);
      const now = ports.clock.now();
      const record: StreamRecord = {
        id: stream,
        project,
        operation: operation.data.id,
        host: host.id,
        user: client.user,
        boot: client.boot,
        client: client.connection,
      };
      const exec = { ...(operation.data.request as HostCommand & { kind: 'exec' }), stream };
      const outgoing = { id: command, host: host.id, operation: operation.data.id, command: exec };
      return {
        writes: [
          spend(operation, command, stream, now),
          ...streamWrites(record),
          ...enqueueCommand(outgoing, project, now, now + EXEC_START_MS),
        ],
        effects: [{ do: 'deliver', host: host.id } as const],
        value: { record, hostConnection: host.connection ?? '', command: undefined },
      };
    },
  );
  await perform(ports, effects);
  if (value.command !== undefined) await deliverCommand(ports, value.command);
  const g = ticketForClient(ports, value.record, value.hostConnection);
  await ports.links.post(client.connection, { t: 'attached', id: request.id, s: value.record.id, g });
}

async function load(ports: Ports, project: string, id: string, client: Client) {
  const operation = await ports.records.get<OperationRecord>(keys.operation(project, id));
  const { host: hostId, stream, secrets, deadline = 0 } = operation?.data ?? {};
  const host = hostId === undefined ? undefined : await hostById(ports.records, hostId);
  if (operation !== undefined && host !== undefined && !ended(operation.data) && deadline > ports.clock.now()) {
    const present = await onceBack(ports, host.data);
    if (secrets !== undefined) return { operation, host: present };
    const attached = stream === undefined ? undefined : await ports.records.get<StreamRecord>(keys.stream(stream));
    if (attached?.data.boot === client.boot && attached.data.user === client.user) {
      return { operation, host: present, attached };
    }
  }
  throw new FairleadError(
    'not_found',
    'There is no operation to attach to: it has ended, nobody attached in time, or somebody did already. Run the command again.',
  );
}

/** Every descriptor's secret must be there; all are compared, so that timing tells nothing. */
function verifySecrets(operation: OperationRecord, given: Readonly<Record<string, string>>): void {
  const good = Object.entries(operation.secrets ?? {}).map(([fd, hash]) => matches(given[fd] ?? '', hash));
  if (!good.every(Boolean)) throw new FairleadError('forbidden', 'The secrets do not belong to this operation.');
}

function spend(stored: Stored<OperationRecord>, command: string, stream: string, now: number): Write {
  const { secrets: _spent, request: _request, ...rest } = stored.data;
  const data: OperationRecord = { ...rest, command, stream, updatedAt: now, deadline: now + EXEC_DEADLINE_MS };
  return { op: 'put', key: keys.operation(data.project, data.id), data, when: { rev: stored.rev } };
}

function streamWrites(record: StreamRecord): Write[] {
  const pointer = { id: record.id };
  return [
    { op: 'put', key: keys.stream(record.id), data: record, when: 'absent' },
    { op: 'put', key: keys.streamOfHost(record.host, record.id), data: pointer, when: 'absent' },
    { op: 'put', key: keys.streamOfClient(record.boot, record.id), data: pointer, when: 'absent' },
  ];
}

/** The writes that forget a stream. */
export function forgetStream(record: StreamRecord): Write[] {
  return [
    { op: 'delete', key: keys.stream(record.id) },
    { op: 'delete', key: keys.streamOfHost(record.host, record.id) },
    { op: 'delete', key: keys.streamOfClient(record.boot, record.id) },
  ];
}

/** Tells the client that its stream was forgotten. One that has heard all that the host said takes no notice. */
export function tellOver({ id, client }: StreamRecord): Effect {
  return { do: 'post', connection: client, frame: streamIsOver(id) };
}

/** What a host needs of its own record to be streamed to. */
export async function connectionOfHost(ports: Ports, host: string): Promise<string | undefined> {
  const stored: Stored<HostRecord> | undefined = await hostById(ports.records, host);
  return stored && online(stored.data) ? stored.data.connection : undefined;
}
