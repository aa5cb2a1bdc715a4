import { describe, expect, it } from 'vitest';

import { enrolledHost } from '../../../test/fake-host.ts';
import { openWorld, signingKey } from '../../../test/world.ts';
import { keys } from '../keys.ts';
import { sha256 } from '../secrets.ts';
import { hostById } from './host.ts';
import { NONCE_MS } from './proof.ts';

const DAY_S = 24 * 3600;

describe("a host's proof", () => {
  it('opens a websocket', async () => {
    await using world = await openWorld();
    expect(await (await enrolledHost(world, 'foo')).dial()).toBe(true);
  });

  it('serves once', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const proof = await host.proof();
    expect([await host.dial(proof), await host.dial(proof)]).toEqual([true, false]);
  });

  it('serves once, also when it is shown twenty times at once or its nonce is signed anew', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const nonce = await host.nonce();
    const proofs = await Promise.all(Array.from({ length: 20 }, (_, jti) => host.proof({ nonce, jti })));
    const opened = await Promise.all(proofs.map((proof) => host.dial(proof)));
    expect(opened.filter(Boolean)).toHaveLength(1);
  });

  it('must come before its nonce expires', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const [first, second] = [await host.proof(), await host.proof()];
    world.clock.advance(NONCE_MS - 1);
    expect(await host.dial(first)).toBe(true);
    world.clock.advance(1);
    expect(await host.dial(second)).toBe(false);
  });

  it.each([
    ['fast', DAY_S],
    ['slow', -DAY_S],
  ])('is good when the clock of the host is a day %s', async (_, off) => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const iat = Math.floor(world.clock.now() / 1000) + off;
    expect(await host.dial(await host.proof({ iat, exp: iat + 60 }))).toBe(true);
  });

  it.each([
    ["another host's nonce", async (host, other) => host.proof({ nonce: await other.nonce() })],
    ["another host's name", async (host, other) => host.proof({ iss: `host:${other.id}`, nonce: await other.nonce() })],
    ['the name of no host', async (host) => host.proof({ iss: 'host:00000000-0000-4000-8000-000000000000' })],
    ['another audience', async (host) => host.proof({ aud: 'fl:other' })],
    ['an invented nonce', async (host) => host.proof({ nonce: 'f'.repeat(64) })],
    [
      'a key in its header',
      async (host) => {
        const thief = signingKey();
        const claims = {
          iss: `host:${host.id}`,
          aud: 'fl:ws',
          nonce: await host.nonce(),
          gen: 1,
          isec: sha256(host.secret.value),
        };
        return thief.sign('fl-host+jwt', claims, { jwk: thief.jwk });
      },
    ],
    [
      'no algorithm',
      async (host) => {
        const [, payload] = (await host.proof()).split('.');
        return `${Buffer.from('{"alg":"none","typ":"fl-host+jwt"}').toString('base64url')}.${payload}.`;
      },
    ],
    [
      'the type of an enrolment',
      async (host) => {
        const claims = {
          iss: `host:${host.id}`,
          aud: 'fl:ws',
          nonce: await host.nonce(),
          gen: 1,
          isec: sha256(host.secret.value),
        };
        return host.key.sign('fl-enroll+jwt', claims);
      },
    ],
    ['nothing at all', async () => 'not.a.jws'],
  ] as [
    string,
    (
      host: Awaited<ReturnType<typeof enrolledHost>>,
      other: Awaited<ReturnType<typeof enrolledHost>>,
    ) => Promise<string>,
  ][])('with %s is refused, and the host is not quarantined for it', async (_, forge) => {
    await using world = await openWorld();
    const [host, other] = [await enrolledHost(world, 'foo'), await enrolledHost(world, 'bar')];
    expect(await host.dial(await forge(host, other))).toBe(false);
    expect(await host.dial()).toBe(true);
    expect(await other.dial()).toBe(true);
  });

  it.each([
    ['is let in, once, when the control plane was told of the restore', true],
    ['is quarantined like a copy when it was not', false],
  ])('of a host that is newer than the restored records %s', async (_, told) => {
    await using world = await openWorld(1, (ports) => {
      const deployment = { ...ports.deployment, ...(told && { restoredAt: ports.clock.now() + 1000 }) };
      return { ...ports, deployment };
    });
    const { records } = world.ports;
    const host = await (await enrolledHost(world, 'foo')).connect();
    const key = keys.host(host.id);
    const backup = await records.get(key);
    world.clock.advance(3_600_000);
    await host.connect();
    await host.connect();
    const restore = async () => {
      const now = await records.get(key);
      await records.transact([{ op: 'put', key, data: backup!.data, when: { rev: now!.rev } }]);
    };
    await restore();
    expect(await host.dial()).toBe(told);
    if (!told) return;
    await host.connect();
    const stolen = await host.proof({ gen: 1, isec: 'ab'.repeat(32) });
    expect(await host.dial(stolen)).toBe(false);
    expect((await hostById(records, host.id))?.data.status).toBe('quarantined');
  });

  it('is worthless once the host was removed', async () => {
    await using world = await openWorld();
    const host = await (await enrolledHost(world, 'foo')).connect();
    await world.api('DELETE', '/1.0/fleet/hosts/foo');
    expect(world.links.isOpen(host.connection)).toBe(false);
    expect(await host.dial()).toBe(false);
  });

  it('gives a nonce for an unknown host too, so that nobody learns which exist', async () => {
    await using world = await openWorld();
    const path = '/1.0/fleet/hosts/00000000-0000-4000-8000-000000000000/nonce';
    const answer = await world.api('POST', path, {}, { token: null });
    expect([answer.status, answer.metadata]).toEqual([
      200,
      { nonce: expect.stringMatching(/^[0-9a-f]{64}$/), now: expect.any(Number) },
    ]);
  });
});
