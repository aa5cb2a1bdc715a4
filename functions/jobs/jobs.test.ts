import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { connectedHost, enrolledHost } from '../../test/fake-host.ts';
import { openWorld } from '../../test/world.ts';
import { OPERATION_DEADLINE_MS } from '../domain/operations/operation.ts';

const body = (name: string) => ({ name, source: { type: 'none' } });

describe('the sweep', () => {
  it('changes nothing when nothing is due, however often it runs', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/instances?target=foo', body('c1'));
    const before = await world.dump();
    await Promise.all([world.sweep(), world.sweep(), world.sweep()]);
    expect(await world.dump()).toEqual(before);
    expect(host.inbox.filter(({ t }) => t === 'cmd')).toHaveLength(1);
  });

  it('goes on with the rest when one step fails, and says so', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'foo');
    await enrolledHost(world, 'bar');
    for (const host of ['foo', 'bar']) await world.api('POST', `/1.0/instances?target=${host}`, body('c1'));
    world.clock.advance(OPERATION_DEADLINE_MS);
    world.records.beforeTransaction = () => Promise.reject(new FairleadError('unavailable', 'throttled'));
    await world.sweep();
    const running = async () =>
      ((await world.api('GET', '/1.0/operations')).metadata as Record<string, string[]>)['running']?.length ?? 0;
    expect(await running()).toBe(1);
    expect(world.logged.join()).toContain('throttled');
    await world.sweep();
    expect(await running()).toBe(0);
  });

  it('delivers what was committed and never posted, because a function died in between', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    world.links.beforePost = () => {
      throw new FairleadError('unavailable', 'throttled');
    };
    expect((await world.api('POST', '/1.0/instances?target=foo', body('c1'))).status).toBe(202);
    expect(host.pending()).toEqual([]);
    world.links.beforePost = undefined;
    await world.sweep();
    expect(host.pending()).toHaveLength(1);
  });

  it('twice at once ends an operation once', async () => {
    await using world = await openWorld();
    await enrolledHost(world, 'foo');
    await world.api('POST', '/1.0/instances?target=foo', body('c1'));
    world.clock.advance(OPERATION_DEADLINE_MS);
    await Promise.all([world.sweep(), world.sweep()]);
    expect((await world.api('GET', '/1.0/operations')).metadata).toMatchObject({ failure: [expect.any(String)] });
    expect((await world.api('GET', '/1.0/instances')).metadata).toEqual([]);
  });
});
