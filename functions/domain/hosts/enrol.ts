import { calculateJwkThumbprint, compactVerify, importJWK, type JWK } from 'jose';

import { FairleadError } from '#shared/errors.ts';
import type { HostFacts } from '#shared/link/commands.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, live, type Stored } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { matches, newSecret, sha256 } from '../secrets.ts';
import type { HostRecord } from './host.ts';
import type { JoinTokenRecord } from './join-tokens.ts';

export interface Enrolment {
  /** Id and secret of a join token. */
  readonly token: string;
  readonly secret: string;
  readonly name: string;
  /** The host's public key; Ed25519. */
  readonly key: JWK;
  /** JWS over `{token, aud}` by that key: the caller holds it. */
  readonly proof: string;
  readonly facts: HostFacts;
}

const REFUSED =
  'The join token is not valid: it was used already, has expired, or was withdrawn. Make a new one with "fairlead host token".';

/**
 * Spends a join token and makes a host, in one transaction: of any number of simultaneous attempts exactly one wins.
 * @throws FairleadError `forbidden` for a bad token or proof (one text for all), `already_exists` when the name is taken.
 */
export async function enrol(
  ports: Ports,
  enrolment: Enrolment,
): Promise<{ host: string; name: string; secret: { generation: number; value: string } }> {
  const { records, clock, random } = ports;
  const now = clock.now();
  const token = live(await records.get<JoinTokenRecord>(keys.joinToken(enrolment.token)), now);
  if (token === undefined || !matches(enrolment.secret, token.data.hash)) throw new FairleadError('forbidden', REFUSED);
  await verifyProof(enrolment, ports.deployment.publicUrl);
  const name = token.data.name ?? enrolment.name;
  await refuseTakenName(ports, name);

  const secret = newSecret(random);
  const host = newHost(random.uuid(), name, token, enrolment, sha256(secret), now);
  try {
    await records.transact([
      { op: 'delete', key: keys.joinToken(token.data.id), when: { rev: token.rev } },
      { op: 'put', key: keys.hostName(name), data: { id: host.id }, when: 'absent' },
      { op: 'put', key: keys.host(host.id), data: host, when: 'absent' },
    ]);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    if (error.failed.includes(0)) throw new FairleadError('forbidden', REFUSED, { cause: error });
    throw taken(name, error);
  }
  return { host: host.id, name, secret: { generation: 1, value: secret } };
}

function newHost(
  id: string,
  name: string,
  token: Stored<JoinTokenRecord>,
  enrolment: Enrolment,
  hash: string,
  now: number,
): HostRecord {
  const { kty, crv, x } = enrolment.key;
  return {
    id,
    name,
    site: token.data.site,
    labels: token.data.labels,
    status: 'active',
    key: { kty, crv, x } as JWK,
    secret: { generation: 1, hash },
    facts: enrolment.facts,
    since: now,
    enrolledAt: now,
  };
}

async function verifyProof(enrolment: Enrolment, audience: string): Promise<void> {
  try {
    const key = await importJWK(enrolment.key, 'EdDSA');
    const { payload, protectedHeader } = await compactVerify(enrolment.proof, key, { algorithms: ['EdDSA'] });
    const claims = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
    const kid = await calculateJwkThumbprint(enrolment.key);
    const holds = protectedHeader.typ === 'fl-enroll+jwt' && (protectedHeader.kid ?? kid) === kid;
    if (!holds || claims['token'] !== enrolment.token || claims['aud'] !== audience)
      throw new Error('claims do not fit');
  } catch (cause) {
    // Everything jose throws, its TypeErrors too: a proof either holds or it does not.
    throw new FairleadError(
      'forbidden',
      'The host did not prove that it holds its key. Run "fairlead-connector join" again with a new token.',
      { cause },
    );
  }
}

async function refuseTakenName(ports: Ports, name: string): Promise<void> {
  if ((await ports.records.get(keys.hostName(name))) !== undefined) throw taken(name);
}

function taken(name: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'already_exists',
    `A host named "${name}" is enrolled already. Choose another with --name; the token is still good.`,
    { cause },
  );
}
