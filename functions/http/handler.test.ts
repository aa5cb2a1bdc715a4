import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { openWorld, type World } from '../../test/world.ts';

/** A profile of so many bytes, and the answer that shows it. */
async function answer(world: World, bytes: number, encoding?: string) {
  await world.api('POST', '/1.0/profiles', { name: 'p', description: 'x'.repeat(bytes) });
  const result = await world.functions.http({
    version: '2.0',
    rawPath: '/1.0/profiles',
    rawQueryString: 'recursion=1',
    headers: {
      authorization: `Bearer ${world.tokens['fleet-admin']}`,
      ...(encoding !== undefined && { 'accept-encoding': encoding }),
    },
    isBase64Encoded: false,
    requestContext: { http: { method: 'GET', sourceIp: '192.0.2.1' }, requestId: 'r' },
  });
  const { statusCode, headers, body, isBase64Encoded } = result;
  expect(statusCode).toBe(200);
  return { headers, isBase64Encoded, bytes: Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8') };
}

describe('a long answer', () => {
  it('is compressed for whoever takes it', async () => {
    await using world = await openWorld();
    const { headers, bytes } = await answer(world, 100_000, 'deflate, gzip;q=0.8');
    expect(headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' });
    expect(bytes.length).toBeLessThan(10_000);
    expect(gunzipSync(bytes).toString()).toContain('x'.repeat(100_000));
  });

  it.each([[undefined], ['identity'], ['gzip;q=0'], ['x-gzipped']])('comes as it is for %s', async (encoding) => {
    await using world = await openWorld();
    const { headers, isBase64Encoded, bytes } = await answer(world, 100_000, encoding);
    expect(headers['content-encoding']).toBeUndefined();
    expect(isBase64Encoded).toBe(false);
    expect(bytes.toString()).toContain('x'.repeat(100_000));
  });

  it('is 64 KB or more', async () => {
    await using world = await openWorld();
    expect((await answer(world, 1000, 'gzip')).headers['content-encoding']).toBeUndefined();
  });
});
