import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { MAX_FRAME_BYTES, PROTOCOL_VERSION } from '#shared/link/limits.ts';
import { connectedHost, enrolledHost, launch } from '../../test/fake-host.ts';
import { openWorld, type World } from '../../test/world.ts';
import { SUBSCRIPTION_MS } from '../domain/events/publish.ts';

describe('a frame', () => {
  it.each([
    ['that is no JSON', '{"t":'],
    ['that is no object', '[1,2]'],
    ['of an unknown kind', '{"t":"run","command":"rm"}'],
    ['with a field of the wrong kind', '{"t":"res","n":"1"}'],
    ['that is empty', ''],
    ['that is too large', JSON.stringify({ t: 'progress', id: 'x', text: 'x'.repeat(MAX_FRAME_BYTES) })],
    ['nested deep', `{"t":"res","id":${'['.repeat(15_000)}`],
  ])('%s is refused, and the connection stays', async (_, body) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await host.sendText(body);
    expect(host.inbox.at(-1)).toMatchObject({ t: 'refused', id: '-', error: { code: 'protocol' } });
    await launch(world, host, 'c1');
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Running' });
  });

  it('of any text at all never fails but by being refused', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom('hello', 'res', 'event', 'd', 'attach').map((t) => `{"t":"${t}"}`),
    );
    await fc.assert(
      fc.asyncProperty(text, async (body) => {
        await host.sendText(body);
      }),
      { numRuns: 100 },
    );
    expect(world.links.isOpen(host.connection)).toBe(true);
  });

  it('before hello is dropped: nobody is known to be there yet', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    await host.dial();
    await host.report();
    await host.send({ t: 'progress', id: 'x', text: 'x' });
    expect(host.inbox).toEqual([]);
  });

  it('of a host that was removed is dropped', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const [id = ''] = host.held.keys();
    await world.api('DELETE', '/1.0/fleet/hosts/foo?force=1');
    const before = await world.dump();
    await host.send(host.event(id, 'Stopped'));
    await host.hello();
    expect(await world.dump()).toEqual(before);
  });

  it('of a heartbeat is answered with nothing and writes nothing', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const [frames, before] = [host.inbox.length, await world.dump()];
    await host.send({ t: 'hb' });
    expect([host.inbox.length, await world.dump()]).toEqual([frames, before]);
  });

  it('of a host that a client sends does nothing, and the other way round', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const [id = ''] = host.held.keys();
    const frame = host.event(id, 'Stopped');
    const authorizer = { kind: 'client', id: 'operator', project: 'default', types: '', opened: '0' };
    await host.send(frame, world.links.open(), authorizer);
    await host.send({ t: 'attach', id: 'a', boot: 'b', op: id, secrets: {} });
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Running' });
    expect(host.inbox.filter(({ t }) => t === 'attached' || t === 'refused')).toEqual([]);
  });
});

describe('a websocket of a user', () => {
  async function allowed(
    world: World,
    token: string | undefined,
    query: Record<string, string> = {},
  ): Promise<boolean> {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const requestContext = { connectionId: 'c', sourceIp: '192.0.2.1' };
    return (await world.functions.authorize({ headers, queryStringParameters: query, requestContext })).allow;
  }

  it('opens to operators, and for events to viewers', async () => {
    await using world = await openWorld();
    const { viewer, operator } = world.tokens;
    const events = { path: '/1.0/events' };
    expect(
      await Promise.all([allowed(world, viewer), allowed(world, operator), allowed(world, viewer, events)]),
    ).toEqual([false, true, true]);
  });

  it('does not open to nobody, nor for a token in the query', async () => {
    await using world = await openWorld();
    expect(await allowed(world, undefined)).toBe(false);
    expect(
      await allowed(world, undefined, {
        token: world.tokens.operator,
        authorization: `Bearer ${world.tokens.operator}`,
      }),
    ).toBe(false);
  });

  it('is welcomed by hello', async () => {
    await using world = await openWorld();
    const connection = world.links.open();
    const authorizer = { kind: 'client', id: 'operator', project: 'default', types: '', opened: '0' };
    const body = JSON.stringify({ t: 'hello', v: PROTOCOL_VERSION, boot: 'b' });
    await world.functions.message({ body, requestContext: { connectionId: connection, sourceIp: '', authorizer } });
    expect(world.links.frames(connection)).toMatchObject([{ t: 'welcome', conn: connection }]);
    expect(world.links.frames(connection)[0]).not.toHaveProperty('secret');
  });
});

describe('a listener to events', () => {
  async function listen(world: World, types = ''): Promise<{ connection: string; leave(): Promise<void> }> {
    const connection = world.links.open();
    const authorizer = { kind: 'events', id: 'viewer', project: 'default', types, opened: '0' };
    const event = { requestContext: { connectionId: connection, sourceIp: '', authorizer } };
    await world.functions.connect(event);
    return { connection, leave: () => world.functions.disconnect(event) };
  }

  const kinds = (world: World, connection: string) =>
    new Set(world.links.texts(connection).map((text) => (JSON.parse(text) as { type: string }).type));

  it('gets what it named, or operations and lifecycle', async () => {
    await using world = await openWorld();
    const [usual, lifecycle] = [await listen(world), await listen(world, 'lifecycle,nonsense')];
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    expect(kinds(world, usual.connection)).toEqual(new Set(['lifecycle', 'operation']));
    expect(kinds(world, lifecycle.connection)).toEqual(new Set(['lifecycle']));
  });

  it('is forgotten when it leaves, is gone, or its time is over', async () => {
    await using world = await openWorld();
    const [left, gone, old] = [await listen(world), await listen(world), await listen(world)];
    await left.leave();
    await world.links.close(gone.connection);
    world.clock.advance(SUBSCRIPTION_MS);
    const host = await connectedHost(world, 'foo');
    expect(world.links.texts(old.connection)).toEqual([]);
    await left.leave();
    await host.disconnect();
    expect((await world.dump()).filter(({ sk }) => sk === left.connection)).toEqual([]);
  });

  it('that is throttled does not keep the others from theirs', async () => {
    await using world = await openWorld();
    const [first, second] = [await listen(world), await listen(world)];
    const postText = world.links.postText.bind(world.links);
    world.links.postText = (connection, text) =>
      connection === first.connection ? Promise.reject(new Error('throttled')) : postText(connection, text);
    await connectedHost(world, 'foo');
    expect(world.links.texts(second.connection)).toHaveLength(1);
  });
});
