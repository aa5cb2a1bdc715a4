import type { JWK } from 'jose';

import { FairleadError } from '#shared/errors.ts';
import type { HostFacts } from '#shared/link/commands.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Records, Stored, Write } from '../../ports/records.ts';
import { keys } from '../keys.ts';

/** A host as it is stored. Times in ms. Its presence is `connection`: written when a connection opens or ends, never by a heartbeat. */
export interface HostRecord {
  readonly id: string;
  readonly name: string;
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `quarantined`: two machines hold this host's identity; neither is talked to. */
  readonly status: 'active' | 'revoked' | 'quarantined';
  readonly key: JWK;
  /** What the host must hold besides its key; counted up with every connection, so that a copied disk is noticed. */
  readonly secret: InstanceSecret;
  /** The secret before, good until the host shows that it stored the new one. */
  readonly previousSecret?: InstanceSecret;
  readonly facts: HostFacts | null;
  readonly connection?: string;
  /** When the handshake of the newest connection was: a late `hello` of an older one is no news. */
  readonly openedAt?: number;
  /** The connection that got the present secret. */
  readonly openedBy?: string;
  readonly boot?: string;
  /** When `connection` last came or went. */
  readonly since: number;
  readonly enrolledAt: number;
}

export interface InstanceSecret {
  readonly generation: number;
  readonly hash: string;
}

/** Whether the host can be given work right now. */
export function online(host: HostRecord): boolean {
  return host.connection !== undefined && host.status === 'active';
}

/** Connections are cut every now and then, and hosts are back within seconds: whoever needs one now waits so long. */
const BACK_MS = 5_000;
const BACK_POLL_MS = 100;

/** The host, once it is back if it lost its connection a moment ago; as it is, if it has been away for longer. */
export async function onceBack(ports: Pick<Ports, 'records' | 'clock'>, host: HostRecord): Promise<HostRecord> {
  let current = host;
  while (!online(current) && ports.clock.now() < current.since + BACK_MS) {
    await ports.clock.sleep(BACK_POLL_MS);
    current = (await hostById(ports.records, host.id))?.data ?? current;
  }
  return current;
}

/** The write that changes a host. */
export function putHost(stored: Stored<HostRecord>, change: Partial<HostRecord>): Write {
  return {
    op: 'put',
    key: keys.host(stored.data.id),
    data: { ...stored.data, ...change },
    when: { rev: stored.rev },
  };
}

/** The write that takes a host off its connection. */
export function disconnectHost(stored: Stored<HostRecord>, now: number): Write {
  const { connection: _connection, ...rest } = stored.data;
  return { op: 'put', key: keys.host(stored.data.id), data: { ...rest, since: now }, when: { rev: stored.rev } };
}

/** A host by its id. */
export async function hostById(records: Records, id: string): Promise<Stored<HostRecord> | undefined> {
  return records.get<HostRecord>(keys.host(id));
}

/** A host by its name. @throws FairleadError `not_found`. */
export async function hostByName(records: Records, name: string): Promise<Stored<HostRecord>> {
  const pointer = await records.get<{ id: string }>(keys.hostName(name));
  const host = pointer && (await hostById(records, pointer.data.id));
  if (host === undefined) {
    throw new FairleadError(
      'not_found',
      `Host "${name}" not found. "fairlead host list" shows the hosts of this fleet.`,
    );
  }
  return host;
}

/** "offline since …", for messages and waiting reasons. */
export function offlineSince(host: HostRecord): string {
  const reason = host.status === 'active' ? 'offline' : host.status;
  return `${reason} since ${new Date(host.since).toISOString()}`;
}
