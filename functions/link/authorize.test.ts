import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { enrolledHost } from '../../test/fake-host.ts';
import { openWorld } from '../../test/world.ts';

describe('the authorizer', () => {
  it('gives no verdict when the store does not answer, so that the host tries again soon', async () => {
    await using world = await openWorld();
    const host = await enrolledHost(world, 'foo');
    const proof = await host.proof();
    world.records.beforeTransaction = () => Promise.reject(new FairleadError('unavailable', 'throttled'));
    await expect(host.dial(proof)).rejects.toThrow('throttled');
    expect(await host.dial(proof)).toBe(true);
  });
});
