import { FairleadError } from '#shared/errors.ts';
import { encodeJoinToken } from '#shared/link/join-token.ts';

import type { Ports } from '../../ports/ports.ts';
import { live, queryAll } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { newSecret, sha256 } from '../secrets.ts';
import type { Actor } from '../trust/actor.ts';

/** A join token as it is stored: the hash of its secret only. It is spent by deleting it. */
export interface JoinTokenRecord {
  readonly id: string;
  readonly hash: string;
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The only host name it may be used for. */
  readonly name?: string;
  readonly createdBy: string;
  readonly createdAt: number;
}

/** Seconds a join token is good when nothing is asked for, and at most. */
export const JOIN_TOKEN_TTL_S = 900;
export const JOIN_TOKEN_MAX_TTL_S = 24 * 3600;

export interface JoinTokenRequest {
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ttl: number;
  readonly name?: string;
}

/** Makes a one-use token; the text is shown here and never again. */
export async function createJoinToken(
  ports: Ports,
  actor: Actor,
  request: JoinTokenRequest,
): Promise<{ id: string; token: string; expires_at: string }> {
  const { records, clock, random, deployment } = ports;
  const id = random.uuid();
  const secret = newSecret(random);
  const now = clock.now();
  const expiresAt = now + request.ttl * 1000;
  const data: JoinTokenRecord = {
    id,
    hash: sha256(secret),
    site: request.site,
    labels: request.labels,
    ...(request.name !== undefined && { name: request.name }),
    createdBy: actor.user,
    createdAt: now,
  };
  await records.transact([{ op: 'put', key: keys.joinToken(id), data, when: 'absent', expiresAt }]);
  const token = encodeJoinToken({
    v: 1,
    u: deployment.publicUrl,
    i: id,
    s: secret,
    e: expiresAt,
    ...(deployment.certificateFingerprint !== undefined && { f: deployment.certificateFingerprint }),
  });
  return { id, token, expires_at: new Date(expiresAt).toISOString() };
}

/** The tokens that can still be used; without their secrets. */
export async function listJoinTokens(ports: Ports) {
  const now = ports.clock.now();
  const all = await queryAll<JoinTokenRecord>(ports.records, keys.joinTokens());
  return all
    .filter((stored) => live(stored, now))
    .map(({ data, expiresAt }) => ({
      id: data.id,
      site: data.site,
      labels: data.labels,
      name: data.name ?? '',
      created_by: data.createdBy,
      created_at: new Date(data.createdAt).toISOString(),
      expires_at: new Date(expiresAt ?? now).toISOString(),
    }));
}

/** Withdraws a token. @throws FairleadError `not_found`. */
export async function deleteJoinToken(ports: Ports, id: string): Promise<void> {
  const stored = await ports.records.get<JoinTokenRecord>(keys.joinToken(id));
  if (stored === undefined)
    throw new FairleadError('not_found', `Join token "${id}" not found: it was used, withdrawn or has expired.`);
  await ports.records.transact([{ op: 'delete', key: keys.joinToken(id) }]);
}
