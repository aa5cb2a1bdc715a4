import { describe, expect, it } from 'vitest';

import { connectedHost, launch, measured, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';

async function instance(world: World, name: string): Promise<{ status: string }> {
  return (await world.api('GET', `/1.0/instances/${name}`)).metadata;
}

function idOf(host: FakeHost, name: string): string {
  return [...host.held.values()].find((kept) => kept.name === name)?.id ?? '';
}

describe("a host's report", () => {
  it('sets what changed while it was offline', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await host.disconnect();
    host.event(idOf(host, 'c1'), 'Stopped');
    host.spool.clear();
    await host.connect();
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Stopped' });
  });

  it('in several frames at once confirms the secret and loses none', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await launch(world, host, 'c2');
    await host.dial();
    await host.hello();
    const frames = ['c1', 'c2'].map((name) => {
      const { instance, seq } = host.event(idOf(host, name), 'Stopped');
      return { t: 'report' as const, n: host.nextNumber(), instances: [instance], seq, last: false };
    });
    await Promise.all(frames.map((frame) => host.send(frame)));
    expect([await instance(world, 'c1'), await instance(world, 'c2')]).toMatchObject([
      { status: 'Stopped' },
      { status: 'Stopped' },
    ]);
  });

  it('marks what the host no longer holds, and unmarks it when it is back', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const [[id, kept] = []] = host.held;
    host.held.clear();
    await host.report();
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Error' });
    host.held.set(id!, kept!);
    await host.report();
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Running' });
  });

  it('marks what the host no longer holds also while somebody wants to change it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    await host.disconnect();
    await world.api('PUT', '/1.0/instances/c1/state', { action: 'start' });
    host.held.clear();
    await host.connect();
    await host.work();
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Error' });
  });

  it('does not mark what was made after it was taken', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const seq = host.nextSeq();
    await launch(world, host, 'c1');
    await host.send({ t: 'report', n: host.nextNumber(), instances: [], seq, last: true, held: [] });
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Running' });
  });

  it('does not mark what is only being made', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    await host.report();
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Stopped' });
  });

  it("of another host's instance changes nothing", async () => {
    await using world = await openWorld();
    const [foo, bar] = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
    await launch(world, foo, 'c1');
    const frame = foo.event(idOf(foo, 'c1'), 'Stopped');
    await bar.send({ ...frame, seq: 1000 });
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Running' });
  });

  it('that is older never wins over a newer one, also not over one that said nothing new', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const stopped = host.event(idOf(host, 'c1'), 'Stopped');
    const running = host.event(idOf(host, 'c1'), 'Running');
    await host.send(running);
    await host.send(stopped);
    expect(await instance(world, 'c1')).toMatchObject({ status: 'Running' });
    expect(host.spool.size).toBe(0);
  });
});

describe("a host's answer", () => {
  it('to a command of another host changes nothing', async () => {
    await using world = await openWorld();
    const [foo, bar] = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
    const { metadata } = await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    const [command] = foo.pending();
    await bar.send(bar.result(command!, { error: { code: 'host_failed', message: 'x' } }));
    expect(bar.spool.size).toBe(0);
    await bar.send({ t: 'progress', id: command!.id, text: 'stolen' });
    const operation = await world.api('GET', `/1.0/operations/${(metadata as { id: string }).id}`);
    expect(operation.metadata).toMatchObject({ status: 'Running' });
    expect(operation.text).not.toContain('stolen');
  });

  it('that failed without a reason is a failure', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { metadata } = await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    const [command] = host.pending();
    await host.send({ t: 'res', n: 99, id: command!.id, seq: 99, ok: false });
    const operation = await world.api('GET', `/1.0/operations/${(metadata as { id: string }).id}`);
    expect(operation.metadata).toMatchObject({ status: 'Failure', err: expect.stringContaining('no reason') });
  });

  it('shows progress while it works', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const { metadata } = await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    await host.send({ t: 'progress', id: host.pending()[0]!.id, text: 'rootfs: 42%' });
    const operation = await world.api('GET', `/1.0/operations/${(metadata as { id: string }).id}`);
    expect(operation.metadata).toMatchObject({ metadata: { download_progress: 'rootfs: 42%' } });
  });
});

describe('a question to a host', () => {
  it('is answered with what was measured now', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const state = await host.workDuring(world.api('GET', '/1.0/instances/c1/state'));
    expect(state.metadata).toMatchObject({ status: 'Running', pid: measured('Running').pid });
  });

  it('that is not answered is answered by the registry', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    expect((await world.api('GET', '/1.0/instances/c1/state')).metadata).toMatchObject({ status: 'Running' });
    expect(world.logged.join('\n')).toContain('answered from the registry');
  });

  it('may be answered twice, and too late', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const asked = world.api('GET', '/1.0/instances/c1/console');
    while (host.pending().length === 0) await world.clock.sleep(1);
    const frame = host.result(host.pending()[0]!);
    await Promise.all([host.send(frame), host.send(frame), host.send(frame)]);
    expect((await asked).text).toBe('booted\n');
    await host.send(frame);
    expect(host.spool.size).toBe(0);
    expect(host.inbox.filter(({ t }) => t === 'refused')).toEqual([]);
  });

  it('to an offline host says since when it is offline', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await host.disconnect();
    const answer = await world.api('GET', '/1.0/instances/c1/console');
    expect(answer).toMatchObject({ status: 503, error: expect.stringContaining('offline since 2026-03-01') });
  });
});
