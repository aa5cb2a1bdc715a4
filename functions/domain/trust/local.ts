import type { Ports } from '../../ports/ports.ts';
import { keys } from '../keys.ts';
import { createApiToken, createUser, MAX_TOKEN_DAYS } from './users.ts';

/** The user of whoever may read the data directory of an embedded control plane. */
export const LOCAL_USER = 'local';

/** Makes the local user on the first start, or a new token for it when the old one was lost; the caller keeps the token's file. */
export async function bootstrapLocalUser(
  ports: Pick<Ports, 'records' | 'clock' | 'random'>,
): Promise<{ token: string }> {
  if ((await ports.records.get(keys.user(LOCAL_USER))) === undefined) {
    await createUser(ports, undefined, LOCAL_USER, 'fleet-admin');
  }
  const { token } = await createApiToken(ports, undefined, LOCAL_USER, {
    description: 'this machine',
    days: MAX_TOKEN_DAYS,
  });
  return { token };
}
