import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import type { HostFacts } from '#shared/link/commands.ts';
import { decodeJoinToken } from '#shared/link/join-token.ts';
import { postJson } from '../link/http.ts';
import { loadOrMakeKey } from './key.ts';
import { loadRecord, saveRecord, type HostRecord } from './record.ts';

const ENROL_TIMEOUT_MS = 30_000;

const answer = z.object({
  metadata: z.object({
    host: z.string().min(1).max(64),
    name: z.string().min(1).max(63),
    secret: z.object({ generation: z.int().positive(), value: z.string().min(1).max(128) }),
  }),
});

export interface Enrolment {
  readonly stateDir: string;
  readonly token: string;
  /** The name this host would like; the control plane has the last word. */
  readonly name: string;
  readonly facts: HostFacts;
}

/**
 * Spends a join token: makes the key, proves its possession, and writes down who the control plane says we are.
 * @throws FairleadError `already_exists` when this host belongs to a fleet already; the control plane's own error when it refuses;
 *   `unavailable` when it cannot be reached (the token is then unspent, unless the answer was lost)
 */
export async function enrol({ stateDir, token, name, facts }: Enrolment): Promise<HostRecord> {
  const { u, i, s, f } = decodeJoinToken(token);
  const present = await loadRecord(stateDir);
  if (present) {
    throw new FairleadError(
      'already_exists',
      `This host belongs to ${present.url} already, as "${present.name}". Run "fairlead-connector leave" first if it should join another fleet.`,
    );
  }
  const url = u.replace(/\/+$/, '');
  const key = await loadOrMakeKey(stateDir);
  const proof = await key.sign('fl-enroll+jwt', { token: i, aud: u });
  const body = { token: i, secret: s, name, key: key.jwk, proof, facts };
  const response = await postJson(`${url}/1.0/fleet/enroll`, body, { pin: f, timeoutMs: ENROL_TIMEOUT_MS });
  const parsed = answer.safeParse(response);
  if (!parsed.success) {
    throw new FairleadError('protocol', `${url} answered, but not as a Fairlead control plane of this version does.`);
  }
  const { host, name: given, secret } = parsed.data.metadata;
  const record: HostRecord = { hostId: host, name: given, url, secret, ...(f && { pin: f }) };
  await saveRecord(stateDir, record);
  return record;
}
