import { createHmac } from 'node:crypto';

import type { HostFacts } from '#shared/link/commands.ts';
import { HEARTBEAT_MS, ROTATE_MAX_MS, ROTATE_MIN_MS } from '#shared/link/limits.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored } from '../../ports/records.ts';
import { decide, nothing } from '../decide.ts';
import { perform } from '../effects.ts';
import { hostEvent } from '../events/lifecycle.ts';
import { sha256 } from '../secrets.ts';
import { reticketHost } from '../streams/tickets.ts';
import { hostConnectionEnded } from './connection-ended.ts';
import { hostById, putHost, type HostRecord } from './host.ts';
import { deliver } from './outbox.ts';

interface Hello {
  readonly boot: string;
  readonly facts?: HostFacts | undefined;
  /** Rotation: the connection that is taken over stays open until the host closes it. */
  readonly replaces?: boolean | undefined;
}

/** A connection, and when its handshake was. */
interface Opened {
  readonly connection: string;
  readonly at: number;
}

/**
 * A host said hello: its newest connection wins, it gets the next instance secret, what waits for it is sent, its streams go on.
 * A repeated hello answers with the same secret.
 */
export async function hostSaidHello(ports: Ports, id: string, opened: Opened, hello: Hello): Promise<void> {
  const now = ports.clock.now();
  const { connection } = opened;
  const { value, effects } = await decide(
    ports,
    () => hostById(ports.records, id),
    (stored) => {
      if (stored === undefined || stored.data.status !== 'active' || isPast(stored.data, opened)) {
        return nothing(undefined);
      }
      if (stored.data.connection === connection) return nothing(stored.data.secret.generation);
      // This connection was given its secret before, and has ended since: giving another would leave the host with one that nobody knows.
      const again = stored.data.openedBy === connection;
      const generation = stored.data.secret.generation + (again ? 0 : 1);
      const replaced = hello.replaces === true ? undefined : stored.data.connection;
      return {
        writes: [
          putHost(stored, {
            connection,
            openedAt: opened.at,
            openedBy: connection,
            boot: hello.boot,
            since: stored.data.connection === undefined ? now : stored.data.since,
            // What the host is known to have; a secret that it never showed may have been lost with its welcome.
            ...(!again && {
              previousSecret: stored.data.previousSecret ?? stored.data.secret,
              secret: { generation, hash: sha256(secretFor(ports, id, generation, connection)) },
            }),
            ...(hello.facts !== undefined && { facts: hello.facts }),
          }),
        ],
        effects: [
          ...(replaced !== undefined ? [{ do: 'close', connection: replaced } as const] : []),
          ...(stored.data.connection === undefined ? [hostEvent('host-connected', stored.data.name, now)] : []),
        ],
        value: generation,
      };
    },
  );
  if (value === undefined) return ports.links.close(connection);
  const welcomed = await ports.links.post(connection, {
    t: 'welcome',
    conn: connection,
    now,
    heartbeatMs: HEARTBEAT_MS,
    rotateMs: rotation(ports),
    secret: { generation: value, value: secretFor(ports, id, value, connection) },
  });
  await perform(ports, effects);
  // Its end was told before this hello.
  if (welcomed === 'gone') return hostConnectionEnded(ports, id, connection);
  await reticketHost(ports, id, connection);
  await deliver(ports, id);
}

/** Messages come late and twice: this one is of a connection that a newer one replaced. */
function isPast(host: HostRecord, { at }: Opened): boolean {
  return host.openedAt !== undefined && at < host.openedAt;
}

/** A random moment of the rotation window, so that a fleet does not come back all at once. */
function rotation(ports: Ports): number {
  const fraction = (ports.random.bytes(1)[0] ?? 0) / 255;
  return Math.round(ROTATE_MIN_MS + fraction * (ROTATE_MAX_MS - ROTATE_MIN_MS));
}

/** Derived, so that a repeated `hello` is answered alike without the secret being stored. */
function secretFor(ports: Ports, host: string, generation: number, connection: string): string {
  return createHmac('sha256', ports.deployment.ticketKey)
    .update(`host-secret ${host} ${generation} ${connection}`)
    .digest('hex');
}

/** The host, if this is its connection; frames of an older one are dropped (security.md R9). */
export async function currentHost(
  ports: Ports,
  id: string,
  connection: string,
): Promise<Stored<HostRecord> | undefined> {
  const stored = await hostById(ports.records, id);
  return stored?.data.connection === connection && stored.data.status === 'active' ? stored : undefined;
}
