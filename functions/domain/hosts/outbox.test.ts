import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { connectedHost, enrolledHost, launch, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { REPEAT_MIN_MS } from '#shared/link/limits.ts';

async function create(world: World, host: FakeHost, name: string, config: object = {}) {
  return world.api('POST', `/1.0/instances?target=${host.name}`, { name, source: { type: 'none' }, config });
}

function posted(host: FakeHost): number {
  return host.inbox.filter(({ t }) => t === 'cmd').length;
}

describe('the outbox', () => {
  it('keeps commands for an offline host and delivers them in order when it connects', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    for (const name of ['c1', 'c2', 'c3']) {
      await create(world, host, name);
      world.clock.advance(1);
    }
    await host.connect();
    const names = host.commands().map(({ cmd }) => cmd.kind === 'create' && cmd.instance.name);
    expect(names).toEqual(['c1', 'c2', 'c3']);
  });

  it('posts once on a connection, and again on the next', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await create(world, host, 'c1');
    await create(world, host, 'c2');
    expect(posted(host)).toBe(2);
    await host.connect();
    expect(posted(host)).toBe(4);
  });

  it('is swept: what was not answered for a while is posted again', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await create(world, host, 'c1');
    await world.sweep();
    expect(posted(host)).toBe(1);
    world.clock.advance(REPEAT_MIN_MS);
    await world.sweep();
    expect(posted(host)).toBe(2);
  });

  it('is pushed by whoever waits: what has no answer is posted again, at growing intervals', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { id } = (await create(world, host, 'c1')).metadata as { id: string };
    await world.api('GET', `/1.0/operations/${id}/wait?timeout=25`);
    expect(posted(host)).toBe(4);
  });

  it('notices a connection that is gone, and counts nothing posted there as sent', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.links.close(host.connection);
    const answer = await create(world, host, 'c1');
    expect((await world.api('GET', '/1.0/fleet/hosts/foo')).metadata).toMatchObject({ status: 'offline' });
    const { id } = answer.metadata as { id: string };
    expect((await world.api('DELETE', `/1.0/operations/${id}`)).status).toBe(200);
  });

  it('delivers what follows when the gateway throttled one command', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    await create(world, host, 'c1');
    world.clock.advance(1);
    await create(world, host, 'c2');
    world.links.beforePost = (_, frame) => {
      if (frame.t !== 'cmd') return;
      world.links.beforePost = undefined;
      throw new FairleadError('unavailable', 'throttled');
    };
    await host.connect();
    expect(posted(host)).toBe(1);
    await world.sweep();
    expect(posted(host)).toBe(2);
  });

  it('refuses a command that no frame can carry before anything is written', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const before = await world.dump();
    const answer = await create(world, host, 'c1', { 'user.user-data': 'x'.repeat(30_000) });
    expect(answer).toMatchObject({ status: 400, error: expect.stringContaining('too large') });
    expect(await world.dump()).toEqual(before);
  });

  it('never posts what was cancelled, in whatever order both come', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const { id } = (await create(world, host, 'c1')).metadata as { id: string };
    await host.dial();
    // The cancel comes between the moment the command was read and the moment it would be posted.
    let cancelled: Promise<{ status: number }> | undefined;
    world.links.beforePost = (_, frame) => {
      if (frame.t !== 'welcome') return;
      world.links.beforePost = undefined;
      world.records.beforeTransaction = async () => {
        cancelled = world.api('DELETE', `/1.0/operations/${id}`);
        await cancelled;
      };
    };
    await host.hello();
    expect((await cancelled)?.status).toBe(200);
    expect(posted(host)).toBe(0);
    expect((await world.api('GET', `/1.0/operations/${id}`)).metadata).toMatchObject({ status: 'Cancelled' });
  });

  it('leaves no record behind once everything was answered', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const before = (await world.dump()).map(({ pk }) => pk);
    await launch(world, host, 'c1');
    await world.api('PUT', '/1.0/instances/c1/state', { action: 'stop' });
    await host.work();
    await host.workDuring(world.api('GET', '/1.0/instances/c1/state'));
    await world.api('DELETE', '/1.0/instances/c1');
    await host.work();
    const after = (await world.dump()).map(({ pk }) => pk);
    expect(after.filter((pk) => !before.includes(pk) && !pk.startsWith('OPERATIONS#'))).toEqual([]);
  });
});
