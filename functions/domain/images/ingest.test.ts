import { execFileSync } from 'node:child_process';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { GOOD_START, hostileTarballs } from '#shared/image/hostile.fixture.ts';
import { tarball } from '#shared/image/tar.fixture.ts';
import { finish, goodImage, hashOf, importImage, upload } from '../../../test/images.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { JOB_LOST_MS } from '../../jobs/jobs.ts';
import { UPLOAD_MS } from './upload.ts';

async function names(world: World): Promise<string[]> {
  return (await world.api('GET', '/1.0/images')).metadata;
}

/** What is left in both stores of an import that failed. */
async function leftovers(world: World): Promise<string[]> {
  const records = (await world.dump()).filter(({ pk }) => /^(UPLOADS|IMAGE|ALIASES)/.test(pk)).map(({ pk }) => pk);
  return [...records, ...(await world.ports.objects.list(''))];
}

describe('an uploaded image', () => {
  it('is there with what its metadata says, once it was checked', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    const more = { public: true, properties: { mine: 'yes' }, aliases: [{ name: 'bb/1.36', description: 'x' }] };
    const begun = await finish(world, await upload(world, bytes, { part: 100 }), more);
    expect(await names(world)).toEqual([]);
    await world.runJobs();
    const operation = await world.api('GET', `/1.0/operations/${(begun.metadata as { id: string }).id}`);
    expect(operation.metadata).toMatchObject({
      status: 'Success',
      metadata: { fingerprint: hashOf(bytes), size: bytes.length },
    });
    expect((await world.api('GET', `/1.0/images/${hashOf(bytes).slice(0, 12)}`)).metadata).toMatchObject({
      fingerprint: hashOf(bytes),
      architecture: 'x86_64',
      size: bytes.length,
      public: true,
      properties: { os: 'Busybox', release: '1.36', mine: 'yes' },
      aliases: [{ name: 'bb/1.36', description: 'x' }],
      created_at: '2016-05-19T18:40:00.000Z',
    });
  });

  it.each([
    ['plain', (tar: Uint8Array) => tar],
    ['zstd', (tar: Uint8Array) => zstdCompressSync(tar)],
    ['xz', (tar: Uint8Array) => execFileSync('xz', ['-c'], { input: tar })],
  ])('may be packed with %s', async (_, pack) => {
    await using world = await openWorld();
    expect(await importImage(world, pack(tarball(GOOD_START)), {}, { part: 700 })).toMatchObject({ status: 'Success' });
  });

  it.each([
    ['is not what was announced', { announced: 'a'.repeat(64) }, /SHA-256 is [0-9a-f]{64}/],
    ['lost its end', { spoil: (_: number, part: Uint8Array) => part.subarray(0, part.length - 20) }, /again/],
    ['has a changed byte', { spoil: (_: number, part: Uint8Array) => Buffer.from(part).fill(0, 60, 64) }, /again/],
  ] as const)('that %s fails, and leaves nothing behind', async (_, options, why) => {
    await using world = await openWorld();
    const operation = await importImage(world, goodImage(), { aliases: [{ name: 'bb' }] }, options);
    expect(operation).toMatchObject({ status: 'Failure', err: expect.stringMatching(why) });
    expect(await leftovers(world)).toEqual([]);
  });

  it.each(hostileTarballs())('that is hostile ($name) fails, and leaves nothing behind', async ({ bytes, why }) => {
    await using world = await openWorld();
    expect(await importImage(world, bytes)).toMatchObject({ status: 'Failure', err: expect.stringMatching(why) });
    expect(await leftovers(world)).toEqual([]);
  });

  it.each([
    ['bzip2', Buffer.from('425a6839314159265359', 'hex')],
    ['squashfs', Buffer.from('6873717300000000000000000000', 'hex')],
    ['nothing known', Buffer.alloc(2000, 7)],
    ['a cut xz', Buffer.from('fd377a585a000004e6d6b446', 'hex')],
  ])('that is %s fails with what to do', async (_, bytes) => {
    await using world = await openWorld();
    expect(await importImage(world, bytes)).toMatchObject({
      status: 'Failure',
      err: expect.stringMatching(/tarball|again/),
    });
  });

  it('cannot be finished while a part is missing, and can when it came', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    const made = await upload(world, bytes, { part: 100, spoil: (index, part) => (index === 1 ? undefined : part) });
    expect(await finish(world, made)).toMatchObject({ status: 400, error: expect.stringContaining('1 of') });
    const more = await world.api('GET', `/1.0/fleet/uploads/${made.id}?from=1`);
    expect((more.metadata as { parts: object[] }).parts[0]).toMatchObject({
      index: 1,
      url: expect.stringContaining('https://'),
    });
    for (const from of ['-1', '1.5', 'x']) {
      const { parts } = (await world.api('GET', `/1.0/fleet/uploads/${made.id}?from=${from}`)).metadata as {
        parts: { index: number }[];
      };
      expect(parts[0]?.index).toBe(from === '1.5' ? 1 : 0);
    }
  });

  it('that is there already fails, and the one that is there stays', async () => {
    await using world = await openWorld();
    await importImage(world, goodImage());
    expect(await importImage(world, goodImage())).toMatchObject({
      status: 'Failure',
      err: 'Image with same fingerprint already exists',
    });
    expect(await names(world)).toHaveLength(1);
    expect(await world.ports.objects.list('')).toHaveLength(1);
  });

  it('under an alias that is taken fails, and leaves no image', async () => {
    await using world = await openWorld();
    await importImage(world, goodImage('a'), { aliases: [{ name: 'bb' }] });
    const second = await importImage(world, goodImage('b'), { aliases: [{ name: 'new' }, { name: 'bb' }] });
    expect(second).toMatchObject({ status: 'Failure', err: expect.stringMatching(/alias bb already exists.*then/i) });
    expect(await names(world)).toHaveLength(1);
  });

  it('is finished once, also when the client repeats itself', async () => {
    await using world = await openWorld();
    const made = await upload(world, goodImage());
    const answers = await Promise.all([1, 2, 3].map(() => finish(world, made)));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 404, 404]);
    await world.runJobs();
    expect(await names(world)).toHaveLength(1);
    expect((await finish(world, made)).status).toBe(404);
  });

  it('stays whole when its job runs several times at once', async () => {
    await using world = await openWorld();
    await finish(world, await upload(world, goodImage(), { part: 100 }), { aliases: [{ name: 'bb' }] });
    const [job] = world.jobs;
    await Promise.all([1, 2, 3].map(() => world.functions.job(job!)));
    const [stored] = (await world.dump()).filter(({ pk }) => pk.startsWith('IMAGEPARTS#'));
    const { parts } = stored!.data as { parts: { key: string }[] };
    expect(await world.ports.objects.list('')).toEqual(parts.map(({ key }) => key));
    expect((await world.api('GET', '/1.0/operations?recursion=1')).metadata).toMatchObject({ success: [{ err: '' }] });
  });

  it('that is cancelled meanwhile does not appear, and leaves nothing behind', async () => {
    await using world = await openWorld();
    const begun = await finish(world, await upload(world, goodImage()));
    const { id } = begun.metadata as { id: string };
    world.records.beforeTransaction = async () => void (await world.api('DELETE', `/1.0/operations/${id}`));
    await world.runJobs();
    expect((await world.api('GET', `/1.0/operations/${id}`)).metadata).toMatchObject({ status: 'Cancelled' });
    expect(await leftovers(world)).toEqual([]);
  });

  it('is checked in the end when its job was lost', async () => {
    await using world = await openWorld();
    await finish(world, await upload(world, goodImage()));
    world.jobs.length = 0;
    world.clock.advance(JOB_LOST_MS);
    await world.sweep();
    await world.sweep();
    expect(world.jobs).toHaveLength(1);
    world.jobs.length = 0;
    await world.functions.job({ kind: 'restarted' });
    await world.runJobs();
    expect(await names(world)).toHaveLength(1);
  });

  it('that nobody finishes is swept away after a day', async () => {
    await using world = await openWorld();
    await upload(world, goodImage());
    world.clock.advance(UPLOAD_MS - 1);
    await world.sweep();
    expect(await leftovers(world)).toHaveLength(2);
    world.clock.advance(1);
    await world.sweep();
    expect(await leftovers(world)).toEqual([]);
  });

  it('is not swept away while it is being checked', async () => {
    await using world = await openWorld();
    const made = await upload(world, goodImage());
    world.clock.advance(UPLOAD_MS - 1000);
    await finish(world, made);
    world.clock.advance(2000);
    await world.sweep();
    await world.runJobs();
    expect(await names(world)).toHaveLength(1);
  });

  it.each([
    [{ size: 1, sha256: 'a'.repeat(64), parts: [{ length: 2, sha256: 'b'.repeat(64) }] }],
    [{ size: 2, sha256: '../../x', parts: [{ length: 2, sha256: 'b'.repeat(64) }] }],
    [{ size: 0, sha256: 'a'.repeat(64), parts: [] }],
    [{ size: 40_000_000, sha256: 'a'.repeat(64), parts: [{ length: 40_000_000, sha256: 'b'.repeat(64) }] }],
  ])('cannot be announced as %j', async (body) => {
    await using world = await openWorld();
    expect((await world.api('POST', '/1.0/fleet/uploads', body)).status).toBe(400);
    expect(await leftovers(world)).toEqual([]);
  });

  it('of another user is not found', async () => {
    await using world = await openWorld();
    const made = await upload(world, goodImage());
    const token = world.tokens.admin;
    expect((await world.api('GET', `/1.0/fleet/uploads/${made.id}`, undefined, { token })).status).toBe(404);
    const body = { source: { type: 'upload', upload: made.id } };
    expect((await world.api('POST', '/1.0/images', body, { token })).status).toBe(404);
  });
});
