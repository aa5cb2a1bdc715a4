import { describe, expect, it } from 'vitest';

import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld } from '../../../test/world.ts';

const state = (action: string, more: object = {}) => ({ action, ...more });

describe('changing the state of an instance', () => {
  it.each([
    ['start', 'Running', {}, 'already running'],
    ['stop', 'Stopped', {}, 'already stopped'],
    ['restart', 'Stopped', {}, 'not running'],
    ['freeze', 'Stopped', {}, 'not running'],
    ['unfreeze', 'Running', {}, 'not frozen'],
    ['stop', 'Frozen', {}, 'frozen'],
    ['stop', 'Running', { stateful: true }, 'live migration'],
  ])('%s of one that is %s is refused with the reason', async (action, status, more, why) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: status !== 'Stopped' });
    if (status === 'Frozen') {
      await world.api('PUT', '/1.0/instances/c1/state', state('freeze'));
      await host.work();
    }
    const answer = await world.api('PUT', '/1.0/instances/c1/state', state(action, more));
    expect(answer).toMatchObject({ status: 400, error: expect.stringContaining(why) });
  });

  it('goes through start, freeze, unfreeze, restart and stop', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    const seen: string[] = [];
    for (const action of ['start', 'freeze', 'unfreeze', 'restart', 'stop']) {
      await world.api('PUT', '/1.0/instances/c1/state', state(action));
      await host.work();
      seen.push(((await world.api('GET', '/1.0/instances/c1')).metadata as { status: string }).status);
    }
    expect(seen).toEqual(['Running', 'Frozen', 'Running', 'Running', 'Stopped']);
  });

  it('is one at a time: the other is told which operation is under way', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const [first, second] = await Promise.all([
      world.api('PUT', '/1.0/instances/c1/state', state('stop')),
      world.api('PUT', '/1.0/instances/c1/state', state('restart')),
    ]);
    expect([first.status, second.status].toSorted((a, b) => a - b)).toEqual([202, 409]);
    const [begun, refused] = first.status === 202 ? [first, second] : [second, first];
    expect(refused.error).toContain((begun.metadata as { id: string }).id);
  });
});

describe('deleting an instance', () => {
  it('that runs is refused', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    expect(await world.api('DELETE', '/1.0/instances/c1')).toMatchObject({
      status: 400,
      error: expect.stringContaining('--force'),
    });
  });

  it('that fails on the host keeps it and frees it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    await world.api('DELETE', '/1.0/instances/c1');
    await host.send(host.result(host.pending()[0]!, { error: { code: 'host_failed', message: 'in use' } }));
    expect((await world.api('PUT', '/1.0/instances/c1/state', state('start'))).status).toBe(202);
  });

  it('twice at once begins one deletion', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    const answers = await Promise.all([1, 2, 3].map(() => world.api('DELETE', '/1.0/instances/c1')));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409, 409]);
  });
});

describe('editing an instance', () => {
  it('takes effect in the registry when the host has taken it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    await world.api('PATCH', '/1.0/instances/c1', { config: { 'limits.cpu': '2' } });
    expect((await world.api('GET', '/1.0/instances/c1')).text).not.toContain('limits.cpu');
    await host.work();
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ config: { 'limits.cpu': '2' } });
  });

  it('that the host refuses changes nothing', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const before = await world.api('GET', '/1.0/instances/c1');
    await world.api('PATCH', '/1.0/instances/c1', { config: { 'security.privileged': 'true' }, profiles: ['docker'] });
    const error = { code: 'forbidden_by_host', message: 'privileged containers are not allowed on foo' } as const;
    await host.send(host.result(host.pending()[0]!, { error }));
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toEqual(before.metadata);
    expect((await world.api('GET', '/1.0/profiles/docker')).metadata).toMatchObject({ used_by: [] });
  });

  it('under an ETag that is no longer true is refused with 412', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const etag = (await world.api('GET', '/1.0/instances/c1')).headers['etag'] ?? '';
    const edit = (cpu: string) =>
      world.api(
        'PUT',
        '/1.0/instances/c1',
        { config: { 'limits.cpu': cpu }, profiles: ['default'] },
        { headers: { 'if-match': etag } },
      );
    expect((await edit('1')).status).toBe(202);
    await host.work();
    expect(await edit('2')).toMatchObject({ status: 412, error: expect.stringContaining('Read it again') });
  });

  it('keeps what is ours: volatile keys', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const before = (await world.api('GET', '/1.0/instances/c1')).metadata as { config: object };
    await world.api('PUT', '/1.0/instances/c1', { config: { 'volatile.uuid': 'x', 'volatile.eth0.hwaddr': 'x' } });
    await host.work();
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ config: before.config });
  });

  it.each([
    ['PUT', { config: { 'no.such': '1' } }, 400],
    ['PATCH', { config: { 'environment.X': 'a\rb' } }, 400],
    ['PATCH', { profiles: ['nope'] }, 404],
    ['PATCH', { profiles: ['default', 'default'] }, 400],
    ['PUT', { restore: 's1' }, 400],
  ] as const)('by %s with %j is refused before anything is written', async (method, body, status) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const before = await world.dump();
    expect((await world.api(method, '/1.0/instances/c1', body)).status).toBe(status);
    expect(await world.dump()).toEqual(before);
  });
});

describe('an ephemeral instance', () => {
  it('goes when it stops on its own', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { ephemeral: true });
    const [id = ''] = host.held.keys();
    await host.send(host.event(id, 'Stopped'));
    await host.work();
    expect((await world.api('GET', '/1.0/instances/c1')).status).toBe(404);
    expect(host.held.size).toBe(0);
  });

  it.each(['before', 'after'])('goes when it is stopped, the event coming %s the answer', async (order) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { ephemeral: true });
    const [id = ''] = host.held.keys();
    await world.api('PUT', '/1.0/instances/c1/state', state('stop'));
    const frames = [host.event(id, 'Stopped'), host.result(host.pending()[0]!)];
    for (const frame of order === 'before' ? frames : frames.toReversed()) await host.send(frame);
    await host.work();
    expect((await world.api('GET', '/1.0/instances/c1')).status).toBe(404);
  });

  it('stays while it was never started', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { ephemeral: true, start: false });
    await host.report();
    expect(host.pending()).toEqual([]);
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({
      ephemeral: true,
      status: 'Stopped',
    });
  });
});
