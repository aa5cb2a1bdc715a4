import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import type { DownFrame } from '#shared/link/frames.ts';
import { MAX_PAYLOAD_BYTES } from '#shared/link/limits.ts';
import { repeatMs } from '#shared/link/repeat.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll, type Stored, type Write } from '../../ports/records.ts';
import type { Outgoing } from '../decide.ts';
import { keys } from '../keys.ts';
import { ticketForHost } from '../streams/tickets.ts';
import { hostConnectionEnded } from './connection-ended.ts';
import { hostById, online, type HostRecord } from './host.ts';

/** A command that waits for its host or for its host's answer. It leaves the outbox with the result, in the same transaction. */
export interface OutboxEntry {
  readonly id: string;
  readonly sequence: string;
  readonly operation: string;
  readonly project: string;
  readonly command: HostCommand;
  readonly expiresAt: number;
  /** The connection it was last posted to, and when: a post is not delivery. */
  readonly sentTo?: string;
  readonly sentAt?: number;
  /** How often it was posted on that connection. */
  readonly posts?: number;
  /** The user took it back: the host is told to stop it, or never to begin. */
  readonly recalled?: true;
}

/** From a command id to its outbox entry. */
export interface CommandPointer {
  readonly host: string;
  readonly sequence: string;
}

/**
 * The writes that put a command into its host's outbox. `expiresAt` in ms.
 * @throws FairleadError `bad_config` for one that no frame can carry.
 */
export function enqueueCommand(outgoing: Outgoing, project: string, now: number, expiresAt: number): Write[] {
  assertFits(outgoing.command);
  const sequence = `${now.toString(16).padStart(12, '0')}-${outgoing.id}`;
  const entry: OutboxEntry = {
    id: outgoing.id,
    sequence,
    operation: outgoing.operation,
    project,
    command: outgoing.command,
    expiresAt,
  };
  const pointer: CommandPointer = { host: outgoing.host, sequence };
  return [
    { op: 'put', key: keys.outbox(outgoing.host, sequence), data: entry, when: 'absent' },
    { op: 'put', key: keys.command(outgoing.id), data: pointer, when: 'absent' },
  ];
}

/** @throws FairleadError `bad_config` for a command that no frame can carry. */
export function assertFits(command: HostCommand): void {
  const bytes = Buffer.byteLength(JSON.stringify(command));
  if (bytes <= MAX_PAYLOAD_BYTES) return;
  throw new FairleadError(
    'bad_config',
    `The host would have to be told ${bytes} bytes, but ${MAX_PAYLOAD_BYTES} fit: the configuration with its profiles is too large. Shorten it, or let the instance fetch long data itself.`,
  );
}

/** The writes that take a command out of the outbox. */
export function dequeueCommand(host: string, entry: Stored<OutboxEntry>): Write[] {
  return [
    { op: 'delete', key: keys.outbox(host, entry.data.sequence), when: { rev: entry.rev } },
    { op: 'delete', key: keys.command(entry.data.id) },
  ];
}

/** The outbox entry of a command; undefined once it was answered. */
export async function commandById(
  ports: Ports,
  id: string,
): Promise<{ host: string; entry: Stored<OutboxEntry> } | undefined> {
  const pointer = await ports.records.get<CommandPointer>(keys.command(id));
  if (pointer === undefined) return undefined;
  const { host, sequence } = pointer.data;
  const entry = await ports.records.get<OutboxEntry>(keys.outbox(host, sequence));
  return entry && { host, entry };
}

/** Posts what waits for a host and was not posted on its current connection, or long ago. What cannot be posted does not hold up the rest. */
export async function deliver(ports: Ports, id: string): Promise<void> {
  const stored = await hostById(ports.records, id);
  if (stored === undefined || !online(stored.data)) return;
  const { pk, prefix } = keys.outboxOf(id);
  for (const entry of await queryAll<OutboxEntry>(ports.records, pk, prefix)) {
    if (!due(entry.data, stored.data, ports.clock.now())) continue;
    try {
      if (!(await post(ports, stored.data, entry))) return;
    } catch (error) {
      if (!isFairleadError(error)) throw error;
      ports.log.error('a command could not be posted', { command: entry.data.id, error: error.message });
    }
  }
}

/** Posts one command again if its time has come: for whoever waits for it. A post that fails comes again too. */
export async function deliverCommand(ports: Ports, id: string): Promise<void> {
  const found = await commandById(ports, id);
  const host = found && (await hostById(ports.records, found.host));
  if (found === undefined || host === undefined || !online(host.data)) return;
  if (!due(found.entry.data, host.data, ports.clock.now())) return;
  try {
    await post(ports, host.data, found.entry);
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    ports.log.error('a command could not be posted', { command: id, error: error.message });
  }
}

/** Whether a command is never to be posted: its time was over before its host was there. */
export function isTooLate({ expiresAt, sentTo }: OutboxEntry, now: number): boolean {
  return expiresAt <= now && sentTo === undefined;
}

/**
 * The host knows repeats, so what has no answer is posted again; growing intervals, since the work itself takes its time. Also after its
 * time: whether it had come before that, its host alone can say.
 */
function due(entry: OutboxEntry, host: HostRecord, now: number): boolean {
  if (isTooLate(entry, now)) return false;
  return entry.sentTo !== host.connection || (entry.sentAt ?? 0) + repeatMs(entry.posts ?? 1) <= now;
}

/** False when the connection is gone. */
async function post(ports: Ports, host: HostRecord, entry: Stored<OutboxEntry>): Promise<boolean> {
  const connection = host.connection ?? '';
  const frame = await frameOf(ports, host, entry.data);
  if (frame === undefined) return true;
  // Noted first: what is cancelled as "not sent" must never have been posted.
  const posts = entry.data.sentTo === connection ? (entry.data.posts ?? 1) + 1 : 1;
  if (!(await note(ports, host.id, entry, { ...entry.data, sentTo: connection, sentAt: ports.clock.now(), posts })))
    return true;
  const unsent = () => note(ports, host.id, { ...entry, rev: entry.rev + 1 }, entry.data);
  const posted = await ports.links.post(connection, frame).catch(async (error) => {
    await unsent();
    throw error;
  });
  if (posted === 'sent') return true;
  await unsent();
  await hostConnectionEnded(ports, host.id, connection);
  return false;
}

/** What the host is told of an entry: its command, or that it was taken back. */
async function frameOf(
  ports: Ports,
  host: HostRecord,
  { id, command, expiresAt, recalled }: OutboxEntry,
): Promise<DownFrame | undefined> {
  if (recalled) return { t: 'cancel', id };
  const cmd = await withTicket(ports, host, command);
  return cmd && { t: 'cmd', id, cmd, expires: expiresAt };
}

/** The write that takes a command back that was posted; the next delivery tells the host. */
export function recallCommand(host: string, { data, rev }: Stored<OutboxEntry>): Write {
  const recalled: OutboxEntry = { ...data, recalled: true, sentAt: 0, posts: 0 };
  return { op: 'put', key: keys.outbox(host, data.sequence), data: recalled, when: { rev } };
}

/** An exec carries a ticket for the connection it is sent on; without a living stream it is not sent at all. */
async function withTicket(ports: Ports, host: HostRecord, command: HostCommand): Promise<HostCommand | undefined> {
  if (command.kind !== 'exec') return command;
  const ticket = await ticketForHost(ports, command.stream, host.connection ?? '');
  return ticket === undefined ? undefined : { ...command, ticket };
}

/** False when the command was answered, cancelled, or taken by somebody else meanwhile. */
async function note(ports: Ports, host: string, { rev }: Stored<OutboxEntry>, data: OutboxEntry): Promise<boolean> {
  try {
    await ports.records.transact([{ op: 'put', key: keys.outbox(host, data.sequence), data, when: { rev } }]);
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    return false;
  }
}
