import { describe, expect, it } from 'vitest';

import { connectedHost, enrolledHost, launch } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { OPERATION_DEADLINE_MS, OPERATION_KEPT_MS } from './operation.ts';
import { MAX_WAIT_MS } from './service.ts';

async function begin(world: World, name = 'c1'): Promise<string> {
  const answer = await world.api('POST', '/1.0/instances?target=foo', { name, source: { type: 'none' } });
  return (answer.metadata as { id: string }).id;
}

async function operation(world: World, id: string) {
  return (await world.api('GET', `/1.0/operations/${id}`)).metadata as {
    status: string;
    err: string;
    metadata: object;
  };
}

describe('an operation whose host is offline', () => {
  it('says what it waits for, and since when', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'foo');
    const id = await begin(world);
    expect(await operation(world, id)).toMatchObject({
      status: 'Running',
      metadata: { waiting_progress: 'Waiting for host foo, offline since 2026-03-01T00:00:00.000Z' },
    });
  });

  it('can be cancelled, and leaves nothing of the instance', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const before = await world.dump();
    const id = await begin(world);
    expect((await world.api('DELETE', `/1.0/operations/${id}`)).status).toBe(200);
    expect(await operation(world, id)).toMatchObject({ status: 'Cancelled' });
    expect((await world.dump()).filter(({ pk }) => !pk.startsWith('OPERATIONS#'))).toEqual(before);
    await host.connect();
    expect(host.commands()).toEqual([]);
  });

  it('is done when the host is back', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const id = await begin(world);
    await host.connect();
    expect((await operation(world, id)).metadata).not.toHaveProperty('waiting_progress');
    await host.work();
    expect(await operation(world, id)).toMatchObject({ status: 'Success' });
  });

  it('fails when its time is over, with the reason, and frees the instance', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    await host.disconnect();
    const { id } = (await world.api('PUT', '/1.0/instances/c1/state', { action: 'start' })).metadata as { id: string };
    world.clock.advance(OPERATION_DEADLINE_MS - 1);
    await world.sweep();
    expect(await operation(world, id)).toMatchObject({ status: 'Running' });
    world.clock.advance(1);
    await world.sweep();
    expect(await operation(world, id)).toMatchObject({
      status: 'Failure',
      err: expect.stringMatching(/host foo is offline since.*try again/),
    });
    expect((await world.api('PUT', '/1.0/instances/c1/state', { action: 'start' })).status).toBe(202);
    await host.connect();
    expect(host.pending()).toHaveLength(1);
  });

  it('does not claim that nothing happened when the host may have done it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await begin(world);
    await host.disconnect();
    world.clock.advance(OPERATION_DEADLINE_MS);
    await world.sweep();
    expect((await operation(world, id)).err).toContain('look before you repeat it');
  });
});

describe('cancelling', () => {
  it('keeps an instance that its host may have made, until the host tells', async () => {
    for (const made of [true, false]) {
      await using world = await openWorld();
      const host = await connectedHost(world, 'foo');
      await begin(world);
      // Done, but nobody hears of it.
      if (made) host.result(host.pending()[0]!);
      await host.disconnect();
      world.clock.advance(OPERATION_DEADLINE_MS);
      await world.sweep();
      await host.connect();
      const instance = (await world.api('GET', '/1.0/instances/c1')).metadata as { status: string };
      expect(instance.status).toBe(made ? 'Stopped' : 'Error');
      expect((await world.api('DELETE', '/1.0/instances/c1')).status).toBe(202);
      await host.work();
      expect((await world.api('GET', '/1.0/instances/c1')).status).toBe(404);
    }
  });

  it('calls a command back from its host and leaves the end to it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await begin(world);
    const [command] = host.pending();
    await world.api('DELETE', `/1.0/operations/${id}`);
    expect(host.inbox.at(-1)).toEqual({ t: 'cancel', id: command!.id });
    expect(await operation(world, id)).toMatchObject({ status: 'Running' });
    await host.send(
      host.result(command!, { error: { code: 'cancelled', message: 'Cancelled while the image was fetched' } }),
    );
    expect(await operation(world, id)).toMatchObject({ status: 'Cancelled' });
    expect((await world.api('GET', '/1.0/instances/c1')).status).toBe(404);
  });

  it('tells the host again until it has answered, and no longer to begin', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await begin(world);
    await world.api('DELETE', `/1.0/operations/${id}`);
    const told = host.inbox.length;
    await world.api('GET', `/1.0/operations/${id}/wait?timeout=5`);
    expect(host.inbox.slice(told).map(({ t }) => t)).toEqual(['cancel']);
    await host.connect();
    expect(host.inbox.filter(({ t }) => t === 'cmd')).toHaveLength(1);
    expect(host.inbox.filter(({ t }) => t === 'cancel')).toHaveLength(3);
  });

  it('is refused when the command went to a host that is offline now', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await begin(world);
    await host.disconnect();
    expect(await world.api('DELETE', `/1.0/operations/${id}`)).toMatchObject({
      status: 400,
      error: expect.stringContaining('when it is back'),
    });
  });

  it('of what has ended is refused, of what never was is not found', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await launch(world, host, 'c1');
    expect((await world.api('DELETE', `/1.0/operations/${id}`)).status).toBe(400);
    expect((await world.api('DELETE', '/1.0/operations/00000000-0000-4000-8000-000000000000')).status).toBe(404);
  });
});

describe('waiting for an operation', () => {
  it('ends as soon as it does', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await begin(world);
    const before = world.clock.now();
    const waited = await host.workDuring(world.api('GET', `/1.0/operations/${id}/wait`));
    expect(waited.metadata).toMatchObject({ status: 'Success' });
    expect(world.clock.now() - before).toBeLessThan(MAX_WAIT_MS);
  });

  it.each([
    ['?timeout=2', 2000],
    ['', MAX_WAIT_MS],
    ['?timeout=-1', MAX_WAIT_MS],
    ['?timeout=3600', MAX_WAIT_MS],
    ['?timeout=0', 0],
    ['?timeout=x', MAX_WAIT_MS],
  ])('with "%s" takes %i ms at most', async (query, most) => {
    await using world = await openWorld();
    await enrolledHost(world, 'foo');
    const id = await begin(world);
    const before = world.clock.now();
    expect((await world.api('GET', `/1.0/operations/${id}/wait${query}`)).metadata).toMatchObject({
      status: 'Running',
    });
    const took = world.clock.now() - before;
    expect(took).toBeGreaterThanOrEqual(most);
    expect(took).toBeLessThan(most + 300);
  });
});

describe('operations', () => {
  it('are listed by status, newest first', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    world.clock.advance(1);
    const first = await begin(world, 'c2');
    world.clock.advance(1);
    const second = await begin(world, 'c3');
    const list = (await world.api('GET', '/1.0/operations?recursion=1')).metadata as Record<string, { id: string }[]>;
    expect(list['running']?.map(({ id }) => id)).toEqual([second, first]);
    expect(list['success']).toHaveLength(1);
    expect((await world.api('GET', '/1.0/operations')).metadata).toMatchObject({
      running: [`/1.0/operations/${second}`, `/1.0/operations/${first}`],
    });
  });

  it('can be read for an hour after their end', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const id = await launch(world, host, 'c1');
    world.clock.advance(OPERATION_KEPT_MS - 1);
    expect(await operation(world, id)).toMatchObject({ status: 'Success' });
    world.clock.advance(1);
    expect((await world.api('GET', `/1.0/operations/${id}`)).status).toBe(404);
    expect((await world.api('GET', '/1.0/operations')).metadata).toEqual({});
  });

  it('fail at once when their host is removed', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'foo');
    const id = await begin(world);
    expect(await world.api('DELETE', '/1.0/fleet/hosts/foo')).toMatchObject({
      status: 400,
      error: expect.stringContaining('--force'),
    });
    expect((await world.api('DELETE', '/1.0/fleet/hosts/foo?force=1')).status).toBe(200);
    expect(await operation(world, id)).toMatchObject({ status: 'Failure', err: expect.stringContaining('removed') });
    expect((await world.dump()).filter(({ pk }) => /^(HOST|COMMAND|INSTANCES|ON|NAMED|USES)/.test(pk))).toEqual([]);
  });
});
