import { describe, expect, it } from 'vitest';

import { enrolledHost, launch } from '../../../test/fake-host.ts';
import { SIGNED_URL_MS } from '../../ports/objects.ts';
import { transferKey } from '../keys.ts';
import { DAY, openFleet, settle, ask, until, moveOf, instanceOf, operation, owners } from '../../../test/fake-fleet.ts';

describe('a move', () => {
  it('takes a running instance with its memory to the other host', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'park');
    world.clock.advance(1000);
    await settle([foo, bar]);
    expect(await operation(fleet, id)).toMatchObject({
      status: 'Success',
      metadata: { bytes: 300, downtime_ms: expect.any(Number) as number },
    });
    const instance = await instanceOf(fleet);
    expect(instance).toMatchObject({ host: bar.id, epoch: 2, status: 'Running' });
    expect(instance.task).toBeUndefined();
    expect(owners(fleet, instance.id)).toEqual(['bar']);
    expect(foo.moves.roles.get(instance.id)).toBe('tombstone');
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({
      location: 'bar',
      status: 'Running',
    });
    expect((await world.api('GET', '/1.0/instances/c1?target=foo')).status).toBe(404);
    expect(
      foo
        .commands()
        .concat(bar.commands())
        .map(({ cmd }) => cmd.kind),
    ).toEqual([
      'create',
      'check-source',
      'send',
      'park',
      'retire',
      'check-target',
      'receive',
      'receive',
      'prepare',
      'adopt',
    ]);
  });

  it('shows what it does, and can be listed', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'park');
    expect((await operation(fleet, id)).metadata).toMatchObject({ move_progress: 'standing still, sending the rest' });
    const [park] = foo.pending();
    await foo.send({ t: 'progress', id: park!.id, text: '12 MB' });
    expect((await operation(fleet, id)).metadata).toMatchObject({
      move_progress: 'standing still, sending the rest: 12 MB',
    });
    await settle([foo, bar]);
    const [move] = (await world.api('GET', '/1.0/fleet/moves')).metadata as { id: string }[];
    expect(move).toMatchObject({ instance: 'c1', source: 'foo', target: 'bar', live: true, state: 'DONE', error: '' });
    expect((await world.api('GET', `/1.0/fleet/moves/${move!.id}`)).metadata).toEqual(move);
    expect((await world.api('GET', '/1.0/fleet/moves/nothing')).status).toBe(404);
  });

  it('is known by what the target says from then on, however much the source has said before', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const { id } = await instanceOf(fleet);
    for (let said = 0; said < 50; said++) await foo.send(foo.event(id, 'Running'));
    await ask(fleet);
    await settle([foo, bar]);
    await bar.send(bar.event(id, 'Stopped'));
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({
      location: 'bar',
      status: 'Stopped',
    });
  });

  it('goes there and back', async () => {
    await using fleet = await openFleet();
    await ask(fleet);
    await settle([fleet.foo, fleet.bar]);
    await ask(fleet, { to: 'foo' });
    await settle([fleet.foo, fleet.bar]);
    const instance = await instanceOf(fleet);
    expect(instance).toMatchObject({ host: fleet.foo.id, epoch: 3, status: 'Running' });
    expect(owners(fleet, instance.id)).toEqual(['foo']);
  });

  it('takes another name along into everything that names the instance', async () => {
    await using fleet = await openFleet(false);
    await ask(fleet, { name: 'c2' });
    await settle([fleet.foo, fleet.bar]);
    const { world } = fleet;
    expect((await world.api('GET', '/1.0/instances')).metadata).toEqual(['/1.0/instances/c2']);
    expect((await world.api('GET', '/1.0/instances/c2')).metadata).toMatchObject({
      location: 'bar',
      status: 'Stopped',
    });
    expect((await world.api('GET', '/1.0/instances/c1')).status).toBe(404);
    expect((await world.api('GET', '/1.0/profiles/default')).metadata).toMatchObject({
      used_by: ['/1.0/instances/c2'],
    });
    expect((await launch(world, fleet.foo, 'c1')).length).toBeGreaterThan(0);
  });

  it('without its memory stops and starts what ran', async () => {
    await using fleet = await openFleet();
    await until(fleet, 'prepare', { live: false });
    expect(fleet.bar.pending()[0]?.cmd).toMatchObject({ kind: 'prepare', live: false, start: true });
    await settle([fleet.foo, fleet.bar]);
    expect(await instanceOf(fleet)).toMatchObject({ host: fleet.bar.id, status: 'Running' });
  });

  it('is kept on the source for a day, and its objects go', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    await ask(fleet);
    const { id } = await moveOf(fleet);
    await world.ports.objects.put(transferKey(id, 1, 'fs1-0'), Buffer.from('x'));
    await settle([foo, bar]);
    await world.sweep();
    expect(await world.ports.objects.list(`transfer/${id}/`)).toEqual([]);
    world.clock.advance(SIGNED_URL_MS);
    await world.sweep();
    world.clock.advance(DAY - SIGNED_URL_MS - 60_000);
    await world.sweep();
    expect(foo.pending()).toEqual([]);
    world.clock.advance(2 * 60_000);
    await world.sweep();
    expect(foo.pending().map(({ cmd }) => cmd.kind)).toEqual(['forget']);
    await settle([foo]);
    expect(await moveOf(fleet)).toMatchObject({ forgotten: true, collected: true });
    world.clock.advance(8 * DAY);
    expect((await world.api('GET', '/1.0/fleet/moves')).metadata).toEqual([]);
  });

  it('keeps nothing if so asked', async () => {
    await using fleet = await openFleet();
    await ask(fleet, { keep: false });
    await settle([fleet.foo, fleet.bar]);
    expect(await moveOf(fleet)).toMatchObject({ state: 'DONE', forgotten: true });
    expect(fleet.foo.moves.roles.size).toBe(0);
  });
});

describe('a host that was never asked', () => {
  it('has no part in a move', async () => {
    await using fleet = await openFleet();
    const baz = await enrolledHost(fleet.world, 'baz');
    await baz.connect();
    await ask(fleet);
    await settle([fleet.foo, fleet.bar]);
    expect(baz.commands()).toEqual([]);
  });
});
