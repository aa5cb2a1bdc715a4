import { describe, expect, it } from 'vitest';

import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { keys } from '../keys.ts';

async function breaches(world: World): Promise<string[]> {
  const answer = await world.api('GET', '/1.0/fleet/doctor');
  return (answer.metadata as { what: string }[]).map(({ what }) => what);
}

describe('the doctor', () => {
  it('finds nothing in a fleet that works, also while an operation is under way', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await world.api('PUT', '/1.0/instances/c1/state', { action: 'stop' });
    expect(await breaches(world)).toEqual([]);
  });

  it('tells of an instance that its host is not listed with, and of one that is listed and not there', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await world.records.transact([
      { op: 'delete', key: keys.instanceOn('default', host.id, 'c1') },
      { op: 'put', key: keys.instanceOn('default', host.id, 'ghost'), data: { id: 'none' }, when: 'absent' },
    ]);
    expect(await breaches(world)).toEqual([
      expect.stringContaining('c1 is on host foo, but the index'),
      expect.stringContaining('an instance default#ghost that is not in the registry'),
    ]);
  });

  it('tells of a lock and a command that outlived their operation', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const answer = await world.api('PUT', '/1.0/instances/c1/state', { action: 'stop' });
    const { id } = answer.metadata as { id: string };
    await world.records.transact([{ op: 'delete', key: keys.operation('default', id) }]);
    expect(await breaches(world)).toEqual([
      expect.stringContaining(`c1 is held by a stop whose operation ${id} has ended`),
      expect.stringContaining('A state waits for a host'),
    ]);
  });
});
