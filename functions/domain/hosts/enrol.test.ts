import { describe, expect, it } from 'vitest';

import { decodeJoinToken } from '#shared/link/join-token.ts';
import { FACTS, FakeHost } from '../../../test/fake-host.ts';
import { openWorld, signingKey, type World } from '../../../test/world.ts';
import { JOIN_TOKEN_TTL_S } from './join-tokens.ts';

async function token(world: World, request: object = {}): Promise<string> {
  const answer = await world.api('POST', '/1.0/fleet/join-tokens', request);
  return (answer.metadata as { token: string }).token;
}

async function hostNames(world: World): Promise<string[]> {
  const { metadata } = await world.api('GET', '/1.0/fleet/hosts');
  return (metadata as { name: string }[]).map(({ name }) => name);
}

describe('enrolment', () => {
  it('makes a host of the site and with the labels its token says', async () => {
    await using world = await openWorld();
    const host = new FakeHost(world);
    const answer = await host.enrol('foo', await token(world, { site: 'oslo', labels: { rack: 'r1' } }));
    expect(answer.status).toBe(200);
    expect((await world.api('GET', '/1.0/fleet/hosts/foo')).metadata).toMatchObject({
      name: 'foo',
      site: 'oslo',
      labels: { rack: 'r1' },
      status: 'offline',
      facts: FACTS,
    });
  });

  it.each([1, 2, 3, 4, 5, 6])('makes one host of 50 that redeem a token at once (seed %i)', async (seed) => {
    await using world = await openWorld(seed);
    const word = await token(world);
    const names = Array.from({ length: 50 }, (_, at) => `host-${at}`);
    const answers = await Promise.all(names.map((name) => new FakeHost(world).enrol(name, word)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 403]));
    expect(await hostNames(world)).toHaveLength(1);
  });

  it('accepts a token until its time is over, and not a millisecond later', async () => {
    await using world = await openWorld();
    const [first, second] = [await token(world), await token(world)];
    world.clock.advance(JOIN_TOKEN_TTL_S * 1000 - 1);
    expect((await new FakeHost(world).enrol('foo', first)).status).toBe(200);
    world.clock.advance(1);
    expect((await new FakeHost(world).enrol('bar', second)).status).toBe(403);
  });

  it('tells a used, an expired, a withdrawn and an invented token apart in nothing', async () => {
    await using world = await openWorld();
    const used = await token(world);
    await new FakeHost(world).enrol('foo', used);
    const withdrawn = await token(world);
    await world.api('DELETE', `/1.0/fleet/join-tokens/${decodeJoinToken(withdrawn).i}`);
    const expired = await token(world, { ttl: 1 });
    world.clock.advance(1000);
    const wrongSecret = Buffer.from(
      JSON.stringify({ ...decodeJoinToken(await token(world)), s: 'f'.repeat(64) }),
    ).toString('base64url');
    const words = [used, withdrawn, expired, `fl1.${wrongSecret}`];
    const answers = await Promise.all(words.map((word) => new FakeHost(world).enrol('bar', word)));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 403, error: expect.stringContaining('fairlead') });
  });

  it('keeps the token when the name is taken, and says so', async () => {
    await using world = await openWorld();
    await new FakeHost(world).enrol('foo', await token(world));
    const word = await token(world);
    const refused = await new FakeHost(world).enrol('foo', word);
    expect(refused).toMatchObject({ status: 409, error: expect.stringContaining('--name') });
    expect((await new FakeHost(world).enrol('bar', word)).status).toBe(200);
  });

  it('gives the name its token is bound to, whatever the host calls itself', async () => {
    await using world = await openWorld();
    const host = new FakeHost(world);
    await host.enrol('foo', await token(world, { name: 'bar' }));
    expect(host.name).toBe('bar');
  });

  it.each([
    [
      "another key's signature",
      (host: FakeHost, i: string, aud: string) => [signingKey().sign('fl-enroll+jwt', { token: i, aud }), host.key.jwk],
    ],
    [
      'another token',
      (host: FakeHost, _: string, aud: string) => [host.key.sign('fl-enroll+jwt', { token: 'x', aud }), host.key.jwk],
    ],
    [
      'another control plane',
      (host: FakeHost, i: string) => [host.key.sign('fl-enroll+jwt', { token: i, aud: 'https://other' }), host.key.jwk],
    ],
    [
      'another purpose',
      (host: FakeHost, i: string, aud: string) => [host.key.sign('fl-host+jwt', { token: i, aud }), host.key.jwk],
    ],
    [
      'no signature',
      (host: FakeHost, i: string, aud: string) => [
        host.key.sign('fl-enroll+jwt', { token: i, aud }, { alg: 'none' }),
        host.key.jwk,
      ],
    ],
    [
      'a key that is none',
      (host: FakeHost, i: string, aud: string) => [
        host.key.sign('fl-enroll+jwt', { token: i, aud }),
        { ...host.key.jwk, x: 'AA' },
      ],
    ],
  ] as const)('refuses a proof with %s and leaves the token', async (_, proofOf) => {
    await using world = await openWorld();
    const host = new FakeHost(world);
    const word = await token(world);
    const { i, s, u } = decodeJoinToken(word);
    const [proof, key] = proofOf(host, i, u);
    const body = { token: i, secret: s, name: 'foo', key, proof, facts: FACTS };
    expect((await world.api('POST', '/1.0/fleet/enroll', body, { token: null })).status).toBe(403);
    expect(await hostNames(world)).toEqual([]);
    expect((await host.enrol('foo', word)).status).toBe(200);
  });

  it('lists tokens without their secrets', async () => {
    await using world = await openWorld();
    const { i, s } = decodeJoinToken(await token(world));
    const list = await world.api('GET', '/1.0/fleet/join-tokens');
    expect(list.metadata).toMatchObject([{ id: i, created_by: 'fleet-admin' }]);
    expect(list.text).not.toContain(s);
  });
});
