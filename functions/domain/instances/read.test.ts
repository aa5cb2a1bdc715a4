import { describe, expect, it } from 'vitest';

import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { keys } from '../keys.ts';
import { indexWrites, type InstanceRecord } from './instance.ts';

/** Writes instances down as if they had been launched long ago. */
async function fill(world: World, host: string, count: number): Promise<void> {
  const records = Array.from({ length: count }, (_, at): InstanceRecord => ({
    id: world.ports.random.uuid(),
    name: `c${String(at).padStart(5, '0')}`,
    project: 'default',
    description: '',
    host,
    epoch: 1,
    architecture: 'x86_64',
    config: {},
    devices: {},
    profiles: ['default'],
    ephemeral: false,
    status: 'Running',
    seq: 1,
    createdAt: 0,
  }));
  await Promise.all(
    records.map((record) => {
      const key = keys.instance(record.project, record.id);
      return world.ports.records.transact([{ op: 'put', key, data: record, when: 'absent' }, ...indexWrites(record)]);
    }),
  );
}

describe('listing instances', () => {
  it('answers for offline hosts, with the age of what is known', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await host.disconnect();
    const left = new Date(world.clock.now()).toISOString();
    world.clock.advance(3600_000);
    const list = await world.api('GET', '/1.0/instances?recursion=2');
    expect(list.metadata).toMatchObject([
      { name: 'c1', location: 'foo', state: { status: 'Running' }, fleet: { online: false, as_of: left } },
    ]);
  });

  it('is ordered by name, then host, and can be asked for one host', async () => {
    await using world = await openWorld();
    const [foo, bar] = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
    for (const [host, name] of [
      [foo, 'b'],
      [bar, 'b'],
      [foo, 'a'],
    ] as const)
      await launch(world, host, name);
    const places = async (query: string) =>
      (
        (await world.api('GET', `/1.0/instances?recursion=1${query}`)).metadata as { name: string; location: string }[]
      ).map(({ name, location }) => `${location}:${name}`);
    expect(await places('')).toEqual(['foo:a', 'bar:b', 'foo:b']);
    expect(await places('&target=foo')).toEqual(['foo:a', 'foo:b']);
  });

  it('of ten thousand reads pages, not instances, and so do profiles', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await fill(world, host.id, 10_000);
    const pages = 10_000 / 500;
    const readsOf = async (path: string) => {
      const before = world.records.reads;
      const answer = await world.api('GET', path);
      expect(answer.status).toBe(200);
      return { reads: world.records.reads - before, answer };
    };
    const { reads, answer } = await readsOf('/1.0/instances');
    expect(answer.metadata).toHaveLength(10_000);
    expect(reads).toBeLessThan(pages + 60);
    expect((await readsOf('/1.0/profiles')).reads).toBeLessThan(pages + 10);
  });

  it('refuses a recursion there is not', async () => {
    await using world = await openWorld();
    expect((await world.api('GET', '/1.0/instances?recursion=3')).status).toBe(400);
  });
});
