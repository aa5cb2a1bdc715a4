import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { PROTOCOL_VERSION } from '#shared/link/limits.ts';
import { connectedHost, enrolledHost, FakeHost, launch } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';

async function statusOf(world: World, name: string): Promise<string> {
  return ((await world.api('GET', `/1.0/fleet/hosts/${name}`)).metadata as { status: string }).status;
}

/** Another machine with the same disk. */
function clone(host: FakeHost): FakeHost {
  const copy = new FakeHost(host.world);
  Object.assign(copy, { key: host.key, id: host.id, name: host.name, secret: host.secret });
  return copy;
}

const hello = { t: 'hello', v: PROTOCOL_VERSION, boot: 'b' } as const;

describe('presence', () => {
  it('is online from hello to disconnect', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    expect(await statusOf(world, 'foo')).toBe('offline');
    await host.connect();
    expect(await statusOf(world, 'foo')).toBe('online');
    await host.disconnect();
    expect(await statusOf(world, 'foo')).toBe('offline');
  });

  it('answers a repeated hello with the same secret', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await host.hello();
    const secrets = host.inbox.filter((frame) => frame.t === 'welcome').map(({ secret }) => secret);
    expect(secrets).toHaveLength(2);
    expect(secrets[0]).toEqual(secrets[1]);
  });

  it('lets the newest connection win and drops frames of the older one', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const { connection, context } = host;
    await host.connect();
    expect(world.links.isOpen(connection)).toBe(false);
    const [id = ''] = [...host.held.keys()];
    await host.send(host.event(id, 'Stopped'), connection, context);
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Running' });
    await host.resend();
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Stopped' });
  });

  it('leaves the older connection open when the new one takes over from it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { connection } = host;
    await host.connect({ replaces: true });
    expect(world.links.isOpen(connection)).toBe(true);
  });

  it('does not go back to an older connection whose hello comes late or again', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { connection, context } = host;
    world.clock.advance(1);
    await host.connect();
    await host.send(hello, connection, context);
    expect(world.links.isOpen(host.connection)).toBe(true);
    await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    expect(host.pending()).toHaveLength(1);
  });

  it('does not come back by the hello of a connection that has ended', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await host.disconnect();
    await host.send(hello);
    expect(await statusOf(world, 'foo')).toBe('offline');
  });

  it('notices an end that was told before its hello', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    await host.dial();
    await host.disconnect();
    await host.send(hello);
    expect(await statusOf(world, 'foo')).toBe('offline');
  });

  it('does not believe a late end of an older connection', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { connection, context } = host;
    await host.connect();
    const requestContext = { connectionId: connection, sourceIp: '', authorizer: context };
    await world.functions.disconnect({ requestContext });
    expect(await statusOf(world, 'foo')).toBe('online');
  });

  it('says why it will not talk another version of the link', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    await host.dial();
    await host.send({ ...hello, v: PROTOCOL_VERSION + 1 });
    expect(host.inbox).toMatchObject([
      { t: 'bye', error: { code: 'protocol', message: expect.stringContaining('Update') } },
    ]);
    expect(world.links.isOpen(host.connection)).toBe(false);
  });

  it('forgets all connections when the gateway began anew', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.functions.job({ kind: 'restarted' });
    expect(await statusOf(world, 'foo')).toBe('offline');
    await host.connect();
    expect(await statusOf(world, 'foo')).toBe('online');
  });
});

describe('a copied disk', () => {
  it('quarantines the host as soon as both have connected, and closes its connection', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const copy = await clone(host).connect();
    expect(await host.dial()).toBe(false);
    expect(await statusOf(world, 'foo')).toBe('quarantined');
    expect(world.links.isOpen(copy.connection)).toBe(false);
    expect(await copy.dial()).toBe(false);
    await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    expect([...host.commands(), ...copy.commands()]).toEqual([]);
  });

  it('is noticed in every order of connecting, and never two are served', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 4, maxLength: 10 }), async (order) => {
        await using world = await openWorld();
        const host = await connectedHost(world, 'foo');
        const both = [host, clone(host)] as const;
        for (const which of order) {
          const one = both[Number(which)]!;
          world.clock.advance(1);
          if (await one.dial()) {
            await one.hello();
            await one.report();
          }
          const served = both.filter(({ connection }) => connection !== '' && world.links.isOpen(connection));
          expect(served.length).toBeLessThanOrEqual(1);
        }
        const bothCame = order.includes(true) && order.includes(false);
        expect(await statusOf(world, 'foo')).toBe(bothCame ? 'quarantined' : 'online');
      }),
      { numRuns: 15 },
    );
  });

  it('is not suspected of a dial that was given up and arrives after the one that followed it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    world.clock.advance(1);
    const late = await host.proof();
    world.clock.advance(10_000);
    await host.connect();
    expect(await host.dial(late)).toBe(false);
    expect(await statusOf(world, 'foo')).toBe('online');
  });

  it('is not suspected of a host whose hello comes twice, the second time after its connection has ended', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    await host.dial();
    await host.hello();
    await host.disconnect();
    await host.hello();
    world.clock.advance(1);
    expect(await host.dial()).toBe(true);
  });

  it('is not suspected of a lone host, however often it crashes between welcome and disk', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom('lost', 'stored', 'reported'), { maxLength: 8 }), async (crashes) => {
        await using world = await openWorld();
        const host = await enrolledHost(world, 'foo');
        for (const crash of crashes) {
          world.clock.advance(1);
          host.keepsSecrets = crash !== 'lost';
          expect(await host.dial()).toBe(true);
          await host.hello();
          if (crash === 'reported') await host.report();
        }
        expect(await host.dial()).toBe(true);
      }),
      { numRuns: 25 },
    );
  });
});
