import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, live, queryAll, type Write } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { matches, newSecret, sha256 } from '../secrets.ts';
import { allows, ROLES, type Actor, type Role } from './actor.ts';

export interface UserRecord {
  readonly name: string;
  readonly role: Role;
  readonly createdAt: number;
}

/** An API token as it is stored: the hash of its secret only. */
export interface ApiTokenRecord {
  readonly id: string;
  readonly user: string;
  readonly hash: string;
  readonly description: string;
  readonly createdAt: number;
}

/** Days an API token is good when nothing is asked for, and at most. */
export const TOKEN_DAYS = 90;
export const MAX_TOKEN_DAYS = 366;
const DAY_MS = 24 * 60 * 60_000;

/** `flp_<id>_<secret>`: the prefix lets secret scanners find a leaked one. */
const TOKEN = /^flp_([0-9a-f-]{36})_([0-9a-f]{64})$/;

/** The user a bearer token belongs to; undefined for anything that is not a good token. Checks expiry on every call. */
export async function authenticate(
  ports: Pick<Ports, 'records' | 'clock'>,
  token: string,
  address: string,
): Promise<Actor | undefined> {
  const [, id, secret] = TOKEN.exec(token) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  const stored = live(await ports.records.get<ApiTokenRecord>(keys.apiToken(id)), ports.clock.now());
  if (stored === undefined || !matches(secret, stored.data.hash)) return undefined;
  const user = await ports.records.get<UserRecord>(keys.user(stored.data.user));
  // A token of somebody who had the same name before is not this user's.
  if (user === undefined || stored.data.createdAt < user.data.createdAt) return undefined;
  return { user: user.data.name, role: user.data.role, address };
}

/** Makes a user. Nobody grants what he has not. @throws FairleadError `already_exists`, `forbidden`. */
export async function createUser(
  ports: Pick<Ports, 'records' | 'clock'>,
  actor: Actor | undefined,
  name: string,
  role: Role,
): Promise<void> {
  if (actor !== undefined && ROLES.indexOf(role) > ROLES.indexOf(actor.role)) {
    throw new FairleadError('forbidden', `You are ${actor.role} and cannot make a ${role}.`);
  }
  const data: UserRecord = { name, role, createdAt: ports.clock.now() };
  try {
    await ports.records.transact([{ op: 'put', key: keys.user(name), data, when: 'absent' }]);
  } catch (cause) {
    if (!(cause instanceof ConditionFailed)) throw cause;
    throw new FairleadError('already_exists', `User "${name}" already exists.`, { cause });
  }
}

/** Every user, without anything secret. */
export async function listUsers(ports: Ports) {
  const users = await queryAll<UserRecord>(ports.records, keys.users());
  return users.map(({ data }) => ({
    name: data.name,
    role: data.role,
    created_at: new Date(data.createdAt).toISOString(),
  }));
}

/** Deletes a user with all tokens, at once. @throws FairleadError `not_found`, `forbidden` for oneself. */
export async function deleteUser(ports: Ports, actor: Actor, name: string): Promise<void> {
  if (name === actor.user) throw new FairleadError('forbidden', 'You cannot delete yourself.');
  await requireUser(ports, name);
  await ports.records.transact([{ op: 'delete', key: keys.user(name) }]);
  const tokens = await queryAll<{ id: string }>(ports.records, keys.apiTokensOf(name));
  for (const { data } of tokens) await ports.records.transact(tokenDeletion(name, data.id));
}

/** Makes an API token; its text is shown here and never again. @throws FairleadError `not_found`, `forbidden` for another's token. */
export async function createApiToken(
  ports: Pick<Ports, 'records' | 'clock' | 'random'>,
  actor: Actor | undefined,
  user: string,
  request: { readonly description: string; readonly days: number },
): Promise<{ id: string; token: string; expires_at: string }> {
  refuseOthers(actor, user);
  await requireUser(ports, user);
  const id = ports.random.uuid();
  const secret = newSecret(ports.random);
  const now = ports.clock.now();
  const expiresAt = now + request.days * DAY_MS;
  const data: ApiTokenRecord = { id, user, hash: sha256(secret), description: request.description, createdAt: now };
  await ports.records.transact([
    { op: 'put', key: keys.apiToken(id), data, when: 'absent', expiresAt },
    { op: 'put', key: keys.apiTokenOf(user, id), data: { id }, when: 'absent', expiresAt },
  ]);
  return { id, token: `flp_${id}_${secret}`, expires_at: new Date(expiresAt).toISOString() };
}

/** Revokes an API token, at once. @throws FairleadError `not_found`, `forbidden`. */
export async function deleteApiToken(ports: Ports, actor: Actor, user: string, id: string): Promise<void> {
  refuseOthers(actor, user);
  if ((await ports.records.get(keys.apiTokenOf(user, id))) === undefined) {
    throw new FairleadError('not_found', `User "${user}" has no token "${id}".`);
  }
  await ports.records.transact(tokenDeletion(user, id));
}

function tokenDeletion(user: string, id: string): Write[] {
  return [
    { op: 'delete', key: keys.apiToken(id) },
    { op: 'delete', key: keys.apiTokenOf(user, id) },
  ];
}

function refuseOthers(actor: Actor | undefined, user: string): void {
  if (actor === undefined || actor.user === user || allows(actor.role, 'manage-fleet')) return;
  throw new FairleadError('forbidden', 'You can manage your own tokens only.');
}

async function requireUser(ports: Pick<Ports, 'records'>, name: string): Promise<void> {
  if ((await ports.records.get(keys.user(name))) === undefined)
    throw new FairleadError('not_found', `User "${name}" not found.`);
}
