import { describe, expect, it } from 'vitest';

import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld } from '../../../test/world.ts';

describe('profiles', () => {
  it('default and docker are there from the start and cannot be deleted or renamed', async () => {
    await using world = await openWorld();
    expect((await world.api('GET', '/1.0/profiles')).metadata).toEqual([
      '/1.0/profiles/default',
      '/1.0/profiles/docker',
    ]);
    for (const name of ['default', 'docker']) {
      expect((await world.api('DELETE', `/1.0/profiles/${name}`)).status).toBe(403);
      expect((await world.api('POST', `/1.0/profiles/${name}`, { name: 'x' })).status).toBe(403);
    }
    await world.api('PATCH', '/1.0/profiles/default', { config: { 'limits.cpu': '1' } });
    expect((await world.api('POST', '/1.0/profiles/default', { name: 'x' })).status).toBe(403);
    expect((await world.api('GET', '/1.0/profiles/default')).metadata).toMatchObject({ config: { 'limits.cpu': '1' } });
  });

  it('are made, changed, renamed and deleted', async () => {
    await using world = await openWorld();
    expect(await world.api('POST', '/1.0/profiles', { name: 'p1', config: { 'limits.cpu': '1' } })).toMatchObject({
      status: 201,
      headers: { location: '/1.0/profiles/p1' },
    });
    await world.api('PATCH', '/1.0/profiles/p1', { config: { 'limits.memory': '1GiB' } });
    expect((await world.api('GET', '/1.0/profiles/p1')).metadata).toMatchObject({
      config: { 'limits.cpu': '1', 'limits.memory': '1GiB' },
    });
    await world.api('PUT', '/1.0/profiles/p1', { config: {}, description: 'd' });
    expect((await world.api('GET', '/1.0/profiles/p1')).metadata).toEqual({
      name: 'p1',
      config: {},
      devices: {},
      description: 'd',
      used_by: [],
    });
    expect((await world.api('POST', '/1.0/profiles/p1', { name: 'p2' })).status).toBe(201);
    expect((await world.api('GET', '/1.0/profiles/p1')).status).toBe(404);
    expect((await world.api('DELETE', '/1.0/profiles/p2')).status).toBe(200);
    expect((await world.api('DELETE', '/1.0/profiles/p2')).status).toBe(404);
  });

  it('never take the name of another, be it built in', async () => {
    await using world = await openWorld();
    await world.api('POST', '/1.0/profiles', { name: 'p1' });
    for (const name of ['default', 'docker', 'p1'])
      expect((await world.api('POST', '/1.0/profiles', { name })).status).toBe(409);
    await world.api('POST', '/1.0/profiles', { name: 'p2' });
    for (const name of ['default', 'docker', 'p2'])
      expect((await world.api('POST', '/1.0/profiles/p1', { name })).status).toBe(409);
  });

  it('in use are neither deleted nor renamed, and say so', async () => {
    await using world = await openWorld();
    await world.api('POST', '/1.0/profiles', { name: 'p1' });
    await launch(world, await connectedHost(world, 'foo'), 'c1', { profiles: ['default', 'p1'] });
    expect(await world.api('DELETE', '/1.0/profiles/p1')).toMatchObject({
      status: 400,
      error: expect.stringContaining('1 instances'),
    });
    expect((await world.api('POST', '/1.0/profiles/p1', { name: 'p2' })).status).toBe(400);
    expect((await world.api('GET', '/1.0/profiles/p1')).metadata).toMatchObject({ used_by: ['/1.0/instances/c1'] });
  });

  it('that change reach every instance that uses them', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/profiles', { name: 'p1' });
    for (const name of ['c1', 'c2']) await launch(world, host, name, { profiles: ['p1'] });
    await launch(world, host, 'c3');
    expect((await world.api('PUT', '/1.0/profiles/p1', { config: { 'limits.cpu': '3' } })).status).toBe(200);
    const updates = host.pending().map(({ cmd }) => cmd);
    expect(updates).toMatchObject([
      { kind: 'update', instance: { config: { 'limits.cpu': '3' } } },
      { kind: 'update', instance: { config: { 'limits.cpu': '3' } } },
    ]);
    await host.work();
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({
      expanded_config: { 'limits.cpu': '3' },
    });
  });

  it('changed under an ETag that is no longer true are refused with 412', async () => {
    await using world = await openWorld();
    const etag = (await world.api('GET', '/1.0/profiles/default')).headers['etag'] ?? '';
    const put = () =>
      world.api('PUT', '/1.0/profiles/default', { config: { 'limits.cpu': '1' } }, { headers: { 'if-match': etag } });
    expect([(await put()).status, (await put()).status]).toEqual([200, 412]);
  });

  it.each([
    ['POST', '/1.0/profiles', { name: 'p1', config: { 'no.such': '1' } }],
    ['POST', '/1.0/profiles', { name: 'p1', config: { 'environment.X': 'a\nb' } }],
    ['POST', '/1.0/profiles', { name: '../p', config: {} }],
    ['PUT', '/1.0/profiles/default', { devices: { eth0: { type: 'nic', 'no.such': 'x' } } }],
    ['PATCH', '/1.0/profiles/docker', { config: { 'limits.memory': 'much' } }],
  ])('are checked: %s %s %j', async (method, path, body) => {
    await using world = await openWorld();
    const before = await world.dump();
    expect((await world.api(method, path, body)).status).toBe(400);
    expect(await world.dump()).toEqual(before);
  });

  it('are not changed when an instance that uses them could not be told', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1', { config: { 'user.a': 'x'.repeat(15_000) } });
    const answer = await world.api('PATCH', '/1.0/profiles/default', { config: { 'user.b': 'y'.repeat(15_000) } });
    expect(answer).toMatchObject({ status: 400, error: expect.stringContaining('too large') });
    expect((await world.api('GET', '/1.0/profiles/default')).metadata).toHaveProperty('config', {});
  });
});
