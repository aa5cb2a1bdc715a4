import { describe, expect, it } from 'vitest';

import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld } from '../../../test/world.ts';

describe('the name of an instance', () => {
  it('that two hosts have is ambiguous: the error names them', async () => {
    await using world = await openWorld();
    for (const name of ['foo', 'bar']) await launch(world, await connectedHost(world, name), 'c1');
    const answer = await world.api('GET', '/1.0/instances/c1');
    expect(answer).toMatchObject({ status: 409, error: expect.stringMatching(/bar, foo.*bar:c1/) });
    expect((await world.api('DELETE', '/1.0/instances/c1')).status).toBe(409);
    expect((await world.api('GET', '/1.0/instances/c1?target=foo')).metadata).toMatchObject({ location: 'foo' });
  });

  it('is not found on another host, nor on one that does not exist', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    await connectedHost(world, 'bar');
    expect(await world.api('GET', '/1.0/instances/c1?target=bar')).toMatchObject({
      status: 404,
      error: expect.stringContaining('bar'),
    });
    expect((await world.api('GET', '/1.0/instances/c1?target=nope')).status).toBe(404);
  });

  it.each(['%00', 'a%0Ab', 'a%23b', '..%2F..%2Fetc', 'a'.repeat(300), '%F0%9F%98%80', '%ED%A0%80', '$(id)', '%'])(
    'that can be none (%s) is not found, and no accident',
    async (name) => {
      await using world = await openWorld();
      for (const path of [
        `/1.0/instances/${name}`,
        `/1.0/profiles/${name}`,
        `/1.0/images/${name}`,
        `/1.0/operations/${name}`,
        `/1.0/fleet/hosts/${name}`,
        `/1.0/images/aliases/${name}`,
      ])
        expect((await world.api('GET', path)).status, path).toBe(404);
    },
  );

  it.each(['%00', 'a'.repeat(256)])('that can be none (%s) is not even looked up', async (name) => {
    await using world = await openWorld();
    const answer = await world.api('GET', `/1.0/instances/${name}`);
    expect(answer).toMatchObject({ status: 404, error: expect.stringContaining('is not the name of anything') });
  });

  it('follows its host when that is renamed', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    await world.api('PATCH', '/1.0/fleet/hosts/foo', { name: 'baz' });
    expect((await world.api('GET', '/1.0/instances/c1?target=baz')).metadata).toMatchObject({ location: 'baz' });
  });
});
