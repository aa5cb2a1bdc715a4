import { describe, expect, it } from 'vitest';

import { DAY, openFleet, settle, ask, until, moveOf, instanceOf, operation, owners } from '../../../test/fake-fleet.ts';

const EARLY = ['send', 'receive', 'park', 'prepare'] as const;

describe('before the commit', () => {
  it.each(EARLY)('%s that fails leaves the instance running where it was, and it can be moved again', async (kind) => {
    await using fleet = await openFleet();
    const { foo, bar } = fleet;
    const id = await until(fleet, kind);
    const host = [foo, bar].find((host) => host.pending().length > 0)!;
    const [command] = host.pending();
    await host.send(host.result(command!, { error: { code: 'disk_full', message: 'The disk is full.' } }));
    await settle([foo, bar]);
    expect(await operation(fleet, id)).toMatchObject({
      status: 'Failure',
      err: 'The disk is full. "c1" stays on host foo.',
    });
    const instance = await instanceOf(fleet);
    expect(instance).toMatchObject({ host: foo.id, epoch: 1, status: 'Running' });
    expect(instance.task).toBeUndefined();
    expect(owners(fleet, instance.id)).toEqual(['foo']);
    expect(await moveOf(fleet)).toMatchObject({ state: 'ABORTED', steps: {} });
    expect((await fleet.world.dump()).filter(({ sk }) => sk.startsWith('OUT#'))).toEqual([]);
    await ask(fleet);
    await settle([foo, bar]);
    expect(owners(fleet, instance.id)).toEqual(['bar']);
  });

  it.each(EARLY)('cancelling during %s calls it back', async (kind) => {
    await using fleet = await openFleet();
    const id = await until(fleet, kind);
    expect((await fleet.world.api('DELETE', `/1.0/operations/${id}`)).status).toBe(200);
    const worker = [fleet.foo, fleet.bar].find((host) => host.inbox.some(({ t }) => t === 'cancel'));
    expect(worker).toBeDefined();
    await settle([fleet.foo, fleet.bar]);
    expect(await operation(fleet, id)).toMatchObject({
      status: 'Cancelled',
      err: expect.stringContaining('stays on host foo') as string,
    });
    expect(owners(fleet, (await instanceOf(fleet)).id)).toEqual(['foo']);
    expect((await fleet.world.dump()).filter(({ sk }) => sk.startsWith('OUT#'))).toEqual([]);
  });

  it('a source that is lost keeps it, standing still, and takes it back when it returns', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'prepare');
    await foo.disconnect();
    const [prepare] = bar.pending();
    await bar.send(bar.result(prepare!, { error: { code: 'host_failed', message: 'No.' } }));
    await settle([foo, bar]);
    expect((await operation(fleet, id)).metadata).toMatchObject({
      waiting_progress: expect.stringContaining('host foo') as string,
    });
    expect(await moveOf(fleet)).toMatchObject({ state: 'ABORTING' });
    expect((await world.api('PUT', '/1.0/instances/c1/state', { action: 'stop' })).status).toBe(409);
    expect(owners(fleet, (await instanceOf(fleet)).id)).toEqual([]);
    await foo.connect();
    await settle([foo, bar]);
    expect(await operation(fleet, id)).toMatchObject({ status: 'Failure' });
    expect(owners(fleet, (await instanceOf(fleet)).id)).toEqual(['foo']);
  });

  it('a host of which nothing is heard is not waited for for ever', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'prepare');
    await bar.disconnect();
    world.clock.advance(3_600_000);
    await world.sweep();
    await settle([foo]);
    expect(await operation(fleet, id)).toMatchObject({
      status: 'Failure',
      err: expect.stringContaining('Nothing was heard') as string,
    });
    expect(await instanceOf(fleet)).toMatchObject({ host: foo.id, status: 'Running' });
    await bar.connect();
    await settle([bar]);
    expect(await moveOf(fleet)).toMatchObject({ state: 'ABORTED' });
    expect(bar.moves.roles.size).toBe(0);
  });

  it('a target that is removed from the fleet ends the move, and nothing of the instance', async () => {
    await using fleet = await openFleet();
    const id = await until(fleet, 'prepare');
    expect((await fleet.world.api('DELETE', '/1.0/fleet/hosts/bar?force=1')).status).toBe(200);
    await settle([fleet.foo]);
    expect(await operation(fleet, id)).toMatchObject({ status: 'Failure' });
    expect(await instanceOf(fleet)).toMatchObject({ host: fleet.foo.id, status: 'Running' });
  });
});

describe('after the commit', () => {
  it('a target that is lost runs it when it is back; the source stands still until then', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'adopt');
    await bar.disconnect();
    expect(await world.api('DELETE', `/1.0/operations/${id}`)).toMatchObject({
      status: 400,
      error: expect.stringContaining('belongs to the target') as string,
    });
    world.clock.advance(2 * DAY);
    await world.sweep();
    const instance = await instanceOf(fleet);
    expect(instance).toMatchObject({ host: bar.id, epoch: 2 });
    expect(owners(fleet, instance.id)).toEqual([]);
    await bar.connect();
    await settle([foo, bar]);
    expect(await operation(fleet, id)).toMatchObject({ status: 'Success' });
    expect(owners(fleet, instance.id)).toEqual(['bar']);
  });

  it('a source that is lost does not hold up the instance, and gives up its copy later', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const id = await until(fleet, 'adopt');
    await foo.disconnect();
    await settle([bar]);
    expect(await operation(fleet, id)).toMatchObject({ status: 'Success' });
    expect((await world.api('PUT', '/1.0/instances/c1/state', { action: 'restart' })).status).toBe(202);
    await foo.connect();
    await settle([foo, bar]);
    expect(await moveOf(fleet)).toMatchObject({ state: 'DONE' });
  });

  it('is made good by the sweep when the function ended between prepared and committed', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    await until(fleet, 'prepare');
    const [prepare] = bar.pending();
    world.records.beforeTransaction = async () => {
      // The first transaction is the one that notes PREPARED; the next one is the commit.
      world.records.beforeTransaction = () => Promise.reject(new Error('killed'));
    };
    await expect(bar.send(bar.result(prepare!))).rejects.toThrow('killed');
    expect(await moveOf(fleet)).toMatchObject({ state: 'PREPARED' });
    await world.sweep();
    await bar.resend();
    await settle([foo, bar]);
    expect(await instanceOf(fleet)).toMatchObject({ host: bar.id, epoch: 2, status: 'Running' });
  });
});
