import { decodeJwt, importJWK, jwtVerify } from 'jose';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, live, type Stored } from '../../ports/records.ts';
import { decide, nothing } from '../decide.ts';
import { keys } from '../keys.ts';
import { newSecret, sha256 } from '../secrets.ts';
import { hostById, type HostRecord, type InstanceSecret } from './host.ts';

/** What checking a proof takes; an authorizer has no more. */
export type ProofPorts = Pick<Ports, 'records' | 'links' | 'clock' | 'log'> & {
  readonly deployment: Pick<Ports['deployment'], 'restoredAt'>;
};

/** How long a nonce can be answered. The server's clock alone decides; hosts behind NAT have bad clocks. */
export const NONCE_MS = 60_000;

/** A nonce for a host's next connection. An unknown host gets one too: whether an id exists is nobody's business. */
export async function issueNonce(ports: Ports, host: string): Promise<{ nonce: string; now: number; link?: string }> {
  const nonce = newSecret(ports.random);
  const now = ports.clock.now();
  await ports.records.transact([
    { op: 'put', key: keys.nonce(host, sha256(nonce)), data: {}, when: 'absent', expiresAt: now + NONCE_MS },
  ]);
  const { linkUrl } = ports.deployment;
  // With each nonce anew, so that a host follows when the control plane moves its websockets.
  return { nonce, now, ...(linkUrl !== undefined && { link: linkUrl }) };
}

/**
 * Whether the bearer of this JWS is the host it says: signed over an unspent nonce by the key of the host's record, holding the
 * instance secret of the last connection. A wrong instance secret means that the host's disk was copied: the host is quarantined.
 * @throws FairleadError `unauthenticated` (bad proof) or `forbidden` (revoked, quarantined).
 */
export async function verifyHostProof(ports: ProofPorts, jws: string): Promise<HostRecord> {
  const claims = read(jws);
  const id = claims.iss.slice('host:'.length);
  const stored = await hostById(ports.records, id);
  if (stored === undefined) throw refused();
  await verifySignature(jws, stored.data);
  const askedAt = await spendNonce(ports, id, claims.nonce);
  if (stored.data.status !== 'active') {
    throw new FairleadError(
      'forbidden',
      `This host is ${stored.data.status}. Ask an administrator of the fleet; its containers keep running.`,
    );
  }
  const presented = { generation: claims.gen, hash: claims.isec };
  if (same(presented, stored.data.secret)) await confirmSecret(ports, id, presented.generation);
  else if (!same(presented, stored.data.previousSecret)) {
    // A dial that was given up may still arrive, after the one that followed it: that secret was good when it was signed.
    if (askedAt < (stored.data.openedAt ?? 0)) throw refused();
    if (isOfBackup(stored.data, ports.deployment.restoredAt)) await adopt(ports, stored, presented);
    else await quarantine(ports, stored);
  }
  return stored.data;
}

/** The record is from before the backup was taken: what the host got since, it cannot know. The next `hello` makes it younger. */
function isOfBackup(host: HostRecord, restoredAt: number | undefined): boolean {
  return restoredAt !== undefined && (host.openedAt ?? host.enrolledAt) <= restoredAt;
}

/** Believes the secret that is shown, for the key is the host's: the one way back after records were restored. */
async function adopt(ports: ProofPorts, stored: Stored<HostRecord>, secret: InstanceSecret): Promise<void> {
  const { previousSecret: _forgotten, ...rest } = stored.data;
  const data: HostRecord = { ...rest, secret };
  await ports.records.transact([{ op: 'put', key: keys.host(data.id), data, when: { rev: stored.rev } }]);
  ports.log.info('host known from a backup let in', { host: data.name });
}

/** What a host claims, not yet believed. */
const claimed = z.object({
  iss: z.string().startsWith('host:'),
  nonce: z.string().max(128),
  gen: z.int(),
  isec: z.string().max(128),
});

function read(jws: string): z.infer<typeof claimed> {
  try {
    return claimed.parse(decodeJwt(jws));
  } catch (cause) {
    throw refused(cause);
  }
}

async function verifySignature(jws: string, host: HostRecord): Promise<void> {
  try {
    const key = await importJWK(host.key, 'EdDSA');
    await jwtVerify(jws, key, {
      algorithms: ['EdDSA'],
      typ: 'fl-host+jwt',
      audience: 'fl:ws',
      issuer: `host:${host.id}`,
      // Freshness is the nonce's; a host's clock may be a day off and its `exp` means nothing.
      currentDate: new Date(0),
    });
  } catch (cause) {
    throw refused(cause);
  }
}

/** Spends a nonce; when it was asked for. */
async function spendNonce(ports: ProofPorts, host: string, nonce: string): Promise<number> {
  const key = keys.nonce(host, sha256(nonce));
  const stored = live(await ports.records.get(key), ports.clock.now());
  if (stored === undefined) throw refused();
  try {
    await ports.records.transact([{ op: 'delete', key, when: { rev: stored.rev } }]);
  } catch (cause) {
    if (cause instanceof ConditionFailed) throw refused(cause);
    throw cause;
  }
  return (stored.expiresAt ?? 0) - NONCE_MS;
}

async function quarantine(ports: ProofPorts, stored: Stored<HostRecord>): Promise<never> {
  const { connection, ...rest } = stored.data;
  const data: HostRecord = { ...rest, status: 'quarantined', since: ports.clock.now() };
  await ports.records.transact([{ op: 'put', key: keys.host(data.id), data, when: { rev: stored.rev } }]);
  if (connection !== undefined) await ports.links.close(connection);
  ports.log.error('host quarantined: two machines hold its identity', { host: data.name });
  throw new FairleadError(
    'forbidden',
    'This host presented an old identity: its disk was copied or restored from a backup. It is quarantined until an administrator enrols it anew.',
  );
}

function same(presented: InstanceSecret, known: InstanceSecret | undefined): boolean {
  return known !== undefined && presented.generation === known.generation && presented.hash === known.hash;
}

function refused(cause?: unknown): FairleadError {
  return new FairleadError('unauthenticated', 'The host could not be authenticated.', { cause });
}

/** The host showed that it stored the secret of this generation: the one before is worthless from now on. */
export async function confirmSecret(ports: Pick<Ports, 'records'>, id: string, generation: number): Promise<void> {
  await decide(
    ports,
    () => hostById(ports.records, id),
    (stored) => {
      if (stored?.data.previousSecret === undefined || stored.data.secret.generation !== generation) {
        return nothing(undefined);
      }
      const { previousSecret: _previous, ...data } = stored.data;
      const key = keys.host(id);
      return { writes: [{ op: 'put', key, data, when: { rev: stored.rev } }], effects: [], value: undefined };
    },
  );
}
