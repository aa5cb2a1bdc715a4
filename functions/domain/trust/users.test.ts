import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { openWorld, type World } from '../../../test/world.ts';
import { ROLES, type Role } from './actor.ts';
import { createUser } from './users.ts';

const DAY_MS = 24 * 3600_000;

async function tokenOf(world: World, user: string, options: { days?: number; token?: string } = {}) {
  const { token = world.tokens['fleet-admin'], days = 90 } = options;
  const answer = await world.api('POST', `/1.0/fleet/users/${user}/tokens`, { days }, { token });
  return { status: answer.status, ...(answer.metadata as { id: string; token: string } | null) };
}

async function works(world: World, token = ''): Promise<number> {
  return (await world.api('GET', '/1.0/instances', undefined, { token })).status;
}

describe('an API token', () => {
  it('works until its last day is over', async () => {
    await using world = await openWorld();
    const { token } = await tokenOf(world, 'viewer', { days: 1 });
    world.clock.advance(DAY_MS - 1);
    expect(await works(world, token)).toBe(200);
    world.clock.advance(1);
    expect(await works(world, token)).toBe(401);
  });

  it('is worth nothing from the moment it is revoked', async () => {
    await using world = await openWorld();
    const { id, token } = await tokenOf(world, 'viewer');
    expect((await world.api('DELETE', `/1.0/fleet/users/viewer/tokens/${id}`)).status).toBe(200);
    expect(await works(world, token)).toBe(401);
    expect((await world.api('DELETE', `/1.0/fleet/users/viewer/tokens/${id}`)).status).toBe(404);
  });

  it('is worth nothing once its user was deleted, also when there is a new one of that name', async () => {
    await using world = await openWorld();
    const { token } = await tokenOf(world, 'viewer');
    // The user goes while this one is being made.
    world.records.beforeTransaction = async () => {
      expect((await world.api('DELETE', '/1.0/fleet/users/viewer')).status).toBe(200);
    };
    const late = (await tokenOf(world, 'viewer')).token;
    expect([await works(world, token), await works(world, late)]).toEqual([401, 401]);
    world.clock.advance(1);
    await world.api('POST', '/1.0/fleet/users', { name: 'viewer', role: 'fleet-admin' });
    expect([await works(world, token), await works(world, late)]).toEqual([401, 401]);
  });

  it.each(['', 'x', 'flp_', `flp_00000000-0000-4000-8000-000000000000_${'a'.repeat(64)}`])(
    'that is "%s" is none',
    async (token) => {
      await using world = await openWorld();
      expect(await works(world, token)).toBe(401);
      const connect = {
        headers: { authorization: `Bearer ${token}` },
        queryStringParameters: {},
        requestContext: { connectionId: 'c', sourceIp: '' },
      };
      expect((await world.functions.authorize(connect)).allow).toBe(false);
    },
  );

  it('with one digit changed is none', async () => {
    await using world = await openWorld();
    const { token = '' } = await tokenOf(world, 'viewer');
    expect(await works(world, token.slice(0, -1) + (token.endsWith('0') ? '1' : '0'))).toBe(401);
  });

  it('is not taken from the query', async () => {
    await using world = await openWorld();
    expect(
      (await world.api('GET', `/1.0/instances?token=${world.tokens.viewer}`, undefined, { token: null })).status,
    ).toBe(403);
  });

  it('is made for oneself by anyone, for others by a fleet-admin only', async () => {
    await using world = await openWorld();
    const token = world.tokens.viewer;
    expect((await tokenOf(world, 'viewer', { token })).status).toBe(200);
    expect((await tokenOf(world, 'admin', { token })).status).toBe(403);
    expect((await tokenOf(world, 'admin', { token: world.tokens.admin })).status).toBe(200);
    expect((await tokenOf(world, 'nobody')).status).toBe(404);
    expect((await tokenOf(world, 'viewer', { days: 367 })).status).toBe(400);
  });
});

describe('users', () => {
  it('are listed without anything secret, and made once', async () => {
    await using world = await openWorld();
    expect((await world.api('POST', '/1.0/fleet/users', { name: 'ann', role: 'operator' })).status).toBe(200 + 1);
    expect((await world.api('POST', '/1.0/fleet/users', { name: 'ann', role: 'viewer' })).status).toBe(409);
    const list = await world.api('GET', '/1.0/fleet/users');
    expect(list.metadata).toContainEqual({ name: 'ann', role: 'operator', created_at: expect.any(String) });
    expect(list.text).not.toMatch(/hash|flp_/);
  });

  it('cannot delete themselves, nor somebody there is not', async () => {
    await using world = await openWorld();
    expect((await world.api('DELETE', '/1.0/fleet/users/fleet-admin')).status).toBe(403);
    expect((await world.api('DELETE', '/1.0/fleet/users/nobody')).status).toBe(404);
  });

  it('never grant more than they have, by no chain of grants', async () => {
    const role = fc.constantFrom<Role>(...ROLES);
    await fc.assert(
      fc.asyncProperty(role, fc.array(role, { maxLength: 6 }), async (first, wanted) => {
        await using world = await openWorld();
        let actor = { user: first as string, role: first, address: '' };
        for (const [at, next] of wanted.entries()) {
          const made = await createUser(world.ports, actor, `u${at}`, next).then(
            () => true,
            () => false,
          );
          expect(made).toBe(ROLES.indexOf(next) <= ROLES.indexOf(actor.role));
          if (made) actor = { user: `u${at}`, role: next, address: '' };
          expect(ROLES.indexOf(actor.role)).toBeLessThanOrEqual(ROLES.indexOf(first));
        }
      }),
      { numRuns: 20 },
    );
  });
});
