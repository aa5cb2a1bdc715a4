import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';

import { FairleadError } from '#shared/errors.ts';
import type { StreamWireFrame } from '#shared/link/frames.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll } from '../../ports/records.ts';
import { keys } from '../keys.ts';

/**
 * A stream as it is stored: written when a client attaches and when an end reconnects, read never per frame.
 * The ends are known to each other by tickets only; connection ids stay here.
 */
export interface StreamRecord {
  readonly id: string;
  readonly project: string;
  readonly operation: string;
  readonly host: string;
  readonly user: string;
  /** The client process; it survives its connections. */
  readonly boot: string;
  readonly client: string;
}

/** What a ticket says: frames of stream `s` from connection `from` go to connection `to`. */
export interface Ticket {
  readonly s: string;
  readonly from: string;
  readonly to: string;
  /** ms. */
  readonly exp: number;
}

/** Longer than any connection lives; a new connection gets new tickets. */
const TICKET_MS = (2 * 60 + 10) * 60_000;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Streams named in one `resume`. */
const RESUME_BATCH = 32;

/** Seals a ticket for its sender, who cannot read whom it leads to. */
export function sealTicket(key: KeyObject, nonce: Uint8Array, ticket: Ticket): string {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([cipher.update(JSON.stringify(ticket)), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
}

/**
 * Opens a ticket that came with a frame.
 * @throws FairleadError `forbidden` when it is not ours, expired, or another connection's.
 */
export function openTicket(
  key: KeyObject,
  text: string,
  expected: { stream: string; from: string; now: number },
): Ticket {
  const ticket = unseal(key, Buffer.from(text, 'base64url'));
  if (ticket?.s !== expected.stream || ticket.from !== expected.from || ticket.exp <= expected.now) {
    throw new FairleadError('forbidden', 'The ticket of this stream frame is not valid on this connection.');
  }
  return ticket;
}

function unseal(key: KeyObject, bytes: Buffer): Ticket | undefined {
  if (bytes.length <= NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
  decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  try {
    const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    return JSON.parse(text.toString()) as Ticket;
  } catch {
    return undefined; // Not sealed by us: the caller refuses it.
  }
}

function issue(ports: Ports, stream: string, from: string, to: string): string {
  const ticket: Ticket = { s: stream, from, to, exp: ports.clock.now() + TICKET_MS };
  return sealTicket(ports.deployment.ticketKey, ports.random.bytes(NONCE_BYTES), ticket);
}

/** The client's ticket towards a host's connection. */
export function ticketForClient(ports: Ports, stream: StreamRecord, hostConnection: string): string {
  return issue(ports, stream.id, stream.client, hostConnection);
}

/** The host's ticket, for the connection an exec is about to be posted on; undefined when the stream has ended. */
export async function ticketForHost(ports: Ports, stream: string, hostConnection: string): Promise<string | undefined> {
  const stored = await ports.records.get<StreamRecord>(keys.stream(stream));
  return stored && issue(ports, stream, hostConnection, stored.data.client);
}

/** A host is on a new connection: both ends of each of its streams get new tickets. */
export async function reticketHost(ports: Ports, host: string, hostConnection: string): Promise<void> {
  const { pk, prefix } = keys.streamsOfHost(host);
  await reticket(ports, await streamsOf(ports, pk, prefix), () => hostConnection);
}

/** What the client's end of a forgotten stream is told. */
export function streamIsOver(s: string): StreamWireFrame {
  return { t: 'rst', s, g: '', code: 'over', msg: 'the command has ended' };
}

/** A client process is on a new connection, with the streams `open` on its side. */
export async function reticketClient(
  ports: Ports,
  boot: string,
  user: string,
  client: string,
  open: readonly string[],
  connectionOf: (host: string) => Promise<string | undefined>,
): Promise<void> {
  const streams = await streamsOf(ports, keys.streamsOfClient(boot));
  const over = open.filter((id) => !streams.some(({ data }) => data.id === id));
  for (const id of over) await ports.links.post(client, streamIsOver(id));
  const moved: StreamRecord[] = [];
  for (const stored of streams) {
    if (stored.data.user !== user) continue;
    const data: StreamRecord = { ...stored.data, client };
    if (await put(ports, data, stored.rev)) moved.push(data);
  }
  const connections = new Map<string, string>();
  for (const { host } of moved) {
    const connection = connections.has(host) ? undefined : await connectionOf(host);
    if (connection !== undefined) connections.set(host, connection);
  }
  const reachable = moved.filter(({ host }) => connections.has(host)).map((data) => ({ data }));
  await reticket(ports, reachable, (host) => connections.get(host) ?? '');
}

/** False when the stream has ended, or another connection of the client took it. */
async function put(ports: Ports, data: StreamRecord, rev: number): Promise<boolean> {
  try {
    await ports.records.transact([{ op: 'put', key: keys.stream(data.id), data, when: { rev } }]);
    return true;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}

async function streamsOf(ports: Ports, pk: string, prefix?: string) {
  const pointers = await queryAll<{ id: string }>(ports.records, pk, prefix);
  const streams = await Promise.all(pointers.map(({ data }) => ports.records.get<StreamRecord>(keys.stream(data.id))));
  return streams.filter((stored) => stored !== undefined);
}

async function reticket(
  ports: Ports,
  streams: readonly { readonly data: StreamRecord }[],
  hostConnection: (host: string) => string,
): Promise<void> {
  const byConnection = new Map<string, { s: string; g: string }[]>();
  const add = (connection: string, s: string, g: string) =>
    byConnection.set(connection, [...(byConnection.get(connection) ?? []), { s, g }]);
  for (const { data } of streams) {
    const toHost = hostConnection(data.host);
    add(toHost, data.id, issue(ports, data.id, toHost, data.client));
    add(data.client, data.id, issue(ports, data.id, data.client, toHost));
  }
  for (const [connection, entries] of byConnection) {
    for (let at = 0; at < entries.length; at += RESUME_BATCH) {
      await ports.links.post(connection, { t: 'resume', streams: entries.slice(at, at + RESUME_BATCH) });
    }
  }
}
