import { describe, expect, it } from 'vitest';

import { bootstrapLocalUser } from '../../functions/domain/trust/local.ts';
import { authorize } from '../../functions/link/authorize.ts';
import type { Records } from '../../functions/ports/records.ts';
import { connectedHost } from '../../test/fake-host.ts';
import { openWorld } from '../../test/world.ts';
import { AUTHORIZER_PARTITIONS, BOOTSTRAP_PARTITIONS } from './permissions.ts';

/** Records that refuse partitions as a role would whose rights end there. */
function within(records: Records, partitions: readonly string[]): Records {
  const may = (pk: string) => {
    const allowed = partitions.some((one) => (one.endsWith('*') ? pk.startsWith(one.slice(0, -1)) : pk === one));
    if (!allowed) throw new Error(`AccessDenied: ${pk}`);
  };
  return {
    get: async (key) => {
      may(key.pk);
      return records.get(key);
    },
    query: async (pk, query) => {
      may(pk);
      return records.query(pk, query);
    },
    transact: async (writes) => {
      for (const { key } of writes) may(key.pk);
      return records.transact(writes);
    },
  };
}

const event = (token: string) => ({
  headers: { authorization: `Bearer ${token}` },
  queryStringParameters: {},
  requestContext: { connectionId: 'c9', sourceIp: '192.0.2.1' },
});

describe('a role that ends at some partitions', () => {
  it('lets the authorizer admit hosts and users', async () => {
    await using world = await openWorld();
    const ports = { ...world.ports, records: within(world.ports.records, AUTHORIZER_PARTITIONS) };
    const host = await connectedHost(world, 'foo');
    expect((await authorize(ports, event(await host.proof()))).allow).toBe(true);
    expect((await authorize(ports, event(world.tokens.operator))).allow).toBe(true);
  });

  it('lets it quarantine a host whose disk was copied', async () => {
    await using world = await openWorld();
    const ports = { ...world.ports, records: within(world.ports.records, AUTHORIZER_PARTITIONS) };
    const host = await connectedHost(world, 'foo');
    world.clock.advance(1000);
    const stolen = await host.proof({ gen: 1, isec: 'ab'.repeat(32) });
    expect((await authorize(ports, event(stolen))).allow).toBe(false);
    expect(world.logged.join()).toContain('quarantined');
  });

  it('lets the first login make its user and token', async () => {
    await using world = await openWorld();
    const ports = { ...world.ports, records: within(world.ports.records, BOOTSTRAP_PARTITIONS) };
    const { token } = await bootstrapLocalUser(ports);
    expect(token).toMatch(/^flp_/);
  });
});
