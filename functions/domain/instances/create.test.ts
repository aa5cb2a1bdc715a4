import { describe, expect, it } from 'vitest';

import { connectedHost, enrolledHost, FACTS, launch, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { MAX_PROFILES } from './instance.ts';

const EMPTY = { type: 'none' };

async function create(world: World, body: object, target = 'foo') {
  return world.api('POST', `/1.0/instances?target=${target}`, { name: 'c1', source: EMPTY, ...body });
}

/** Everything but operations: what is left of an instance. */
async function remains(world: World): Promise<unknown[]> {
  return (await world.dump()).filter(({ pk }) => !pk.startsWith('OPERATIONS#'));
}

function spec(host: FakeHost) {
  const command = host.commands().at(-1)?.cmd;
  if (command?.kind !== 'create') throw new Error('no create command came');
  return command.instance;
}

describe('creating an instance', () => {
  it('answers 202 at once, and is done when its host has done it', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const answer = await create(world, { start: true });
    const { id } = answer.metadata as { id: string };
    expect(answer).toMatchObject({ status: 202, headers: { location: `/1.0/operations/${id}` } });
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Stopped' });
    await host.work();
    expect((await world.api('GET', `/1.0/operations/${id}`)).metadata).toMatchObject({ status: 'Success', err: '' });
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({
      status: 'Running',
      location: 'foo',
    });
  });

  it('tells the host the configuration with the profiles in it, and a hardware address', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/profiles', {
      name: 'small',
      config: { 'limits.memory': '64MiB', 'limits.cpu': '1' },
    });
    await create(world, { profiles: ['default', 'small'], config: { 'limits.cpu': '2', 'volatile.uuid': 'mine' } });
    expect(spec(host)).toMatchObject({
      config: {
        'limits.memory': '64MiB',
        'limits.cpu': '2',
        'volatile.eth0.hwaddr': expect.stringMatching(/^00:16:3e:/),
      },
      devices: { eth0: { type: 'nic' }, root: { type: 'disk', path: '/' } },
    });
    expect(spec(host).config['volatile.uuid']).toBe(spec(host).id);
  });

  it('without a name invents one', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await create(world, { name: '' });
    expect(spec(host).name).toMatch(/^[a-z]+-[a-z]+-\d+$/);
  });

  it('that fails on the host leaves no record of the instance', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const before = await remains(world);
    const { id } = (await create(world, { profiles: ['default', 'docker'] })).metadata as { id: string };
    const error = { code: 'disk_full', message: 'no space left on foo' } as const;
    await host.send(host.result(host.pending()[0]!, { error }));
    expect(await remains(world)).toEqual(before);
    expect((await world.api('GET', `/1.0/operations/${id}`)).metadata).toMatchObject({
      status: 'Failure',
      err: error.message,
    });
    expect((await world.api('GET', '/1.0/instances')).metadata).toEqual([]);
  });

  it.each([
    ['an unknown key', { config: { 'no.such': '1' } }, 400],
    ['a value of the wrong kind', { config: { 'limits.memory': 'much' } }, 400],
    ['a line break in a value', { config: { 'environment.X': 'a\nlxc.hook.start=/bin/sh' } }, 400],
    ['a control character in an environment variable', { config: { 'environment.X': 'a\u0000' } }, 400],
    ['an unknown device option', { devices: { eth0: { type: 'nic', network: 'flbr0', 'ho st': 'x' } } }, 400],
    ['an unknown device type', { devices: { x: { type: 'gpu' } } }, 400],
    ['an unknown profile', { profiles: ['nope'] }, 404],
    ['a profile named twice', { profiles: ['default', 'default'] }, 400],
    ['an unknown image', { source: { type: 'image', alias: 'nope' } }, 404],
    ['an image alias with a NUL', { source: { type: 'image', alias: 'a\u0000b' } }, 404],
    ['an unknown fingerprint', { source: { type: 'image', fingerprint: 'abcdef' } }, 404],
    ['no image named', { source: { type: 'image' } }, 400],
    [
      'an image of elsewhere',
      { source: { type: 'image', alias: 'x', server: 'https://images.example', protocol: 'simplestreams' } },
      400,
    ],
    ['a copy', { source: { type: 'copy', source: 'c0' } }, 400],
    ['a name with a slash', { name: '../x' }, 400],
    ['a name with a NUL', { name: 'a\u0000' }, 400],
    ['a virtual machine', { type: 'virtual-machine' }, 400],
  ])('with %s is refused before anything is written', async (_, body, status) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const before = await world.dump();
    const answer = await create(world, body);
    expect(answer).toMatchObject({ status, type: 'error', error: expect.stringMatching(/\w/) });
    expect(await world.dump()).toEqual(before);
    expect(host.commands()).toEqual([]);
  });

  it('on an unknown host is refused', async () => {
    await using world = await openWorld();
    expect(await create(world, {}, 'nope')).toMatchObject({
      status: 404,
      error: expect.stringContaining('fairlead host list'),
    });
  });

  it('takes as many profiles as fit, and an update that exchanges them all still ends', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const names = Array.from({ length: 2 * MAX_PROFILES }, (_, at) => `p${at}`);
    for (const name of names) await world.api('POST', '/1.0/profiles', { name, config: {} });
    expect((await create(world, { profiles: names.slice(0, MAX_PROFILES + 1) })).status).toBe(400);
    await launch(world, host, 'c1', { profiles: names.slice(0, MAX_PROFILES) });
    const update = await world.api('PUT', '/1.0/instances/c1', { profiles: names.slice(MAX_PROFILES) });
    await host.work();
    expect(
      (await world.api('GET', `/1.0/operations/${(update.metadata as { id: string }).id}`)).metadata,
    ).toMatchObject({ status: 'Success' });
    expect((await world.api('GET', '/1.0/profiles/p0')).metadata).toMatchObject({ used_by: [] });
    expect((await world.api('GET', `/1.0/profiles/p${MAX_PROFILES}`)).metadata).toMatchObject({
      used_by: ['/1.0/instances/c1'],
    });
  });
});

describe('names', () => {
  it('are unique on a host, also when two are created at once', async () => {
    await using world = await openWorld();
    await connectedHost(world, 'foo');
    const answers = await Promise.all(Array.from({ length: 8 }, () => create(world, {})));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      202,
      ...Array.from({ length: 7 }, () => 409),
    ]);
    expect(await create(world, {})).toMatchObject({ status: 409, error: expect.stringContaining('foo') });
  });

  it('may be the same on two hosts that are named, and not where no host is', async () => {
    await using world = await openWorld();
    await connectedHost(world, 'foo');
    await connectedHost(world, 'bar');
    expect((await create(world, {}, 'foo')).status).toBe(202);
    expect((await create(world, {}, 'bar')).status).toBe(202);
    const anywhere = await world.api('POST', '/1.0/instances', { name: 'c1', source: EMPTY });
    expect(anywhere).toMatchObject({ status: 409, error: expect.stringContaining('exists') });
  });

  it('are free again once their instance was deleted', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: false });
    await world.api('DELETE', '/1.0/instances/c1');
    await host.work();
    expect((await create(world, {})).status).toBe(202);
  });
});

describe('placement', () => {
  it('takes a connected host of the right architecture', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'offline');
    const host = await connectedHost(world, 'foo');
    const answer = await world.api('POST', '/1.0/instances', { name: 'c1', source: EMPTY });
    expect(answer.metadata).toMatchObject({ location: 'foo' });
    expect(spec(host).architecture).toBe(FACTS.architecture);
  });

  it('says what to do when there is none', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'offline');
    const answer = await world.api('POST', '/1.0/instances', { name: 'c1', source: EMPTY });
    expect(answer).toMatchObject({ status: 503, error: expect.stringContaining('fairlead host token') });
  });

  it('spreads instances over hosts', async () => {
    await using world = await openWorld();
    const hosts = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
    for (let at = 0; at < 10; at++) await world.api('POST', '/1.0/instances', { name: `c${at}`, source: EMPTY });
    expect(hosts.map((host) => host.commands().length)).toEqual([5, 5]);
  });

  it('puts nothing on a host that is removed meanwhile', async () => {
    await using world = await openWorld();
    await connectedHost(world, 'foo');
    world.records.beforeTransaction = async () => void (await world.api('DELETE', '/1.0/fleet/hosts/foo'));
    expect((await create(world, {})).status).toBe(404);
    expect((await world.dump()).filter(({ pk }) => /^(INSTANCES|ON|NAMED|USES|HOST)#/.test(pk))).toEqual([]);
  });
});
