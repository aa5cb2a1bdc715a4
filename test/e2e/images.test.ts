/** Images on a real host: unpacking in real namespaces, and the cache with full disks and crashes. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { GOOD_START } from '#shared/image/hostile.fixture.ts';
import { tarball, type Part } from '#shared/image/tar.fixture.ts';
import { openImageCache, type ImageCache } from '../../host-connector/images/cache.ts';
import type { Locate } from '../../host-connector/images/download.ts';
import { run, spawnPiped } from '../../host-connector/process.ts';
import { openTrash } from '../../host-connector/storage/trash.ts';
import { expectGoodTree, goodTree, IDMAP, ownPlace, pack, unpack } from './images.fixture.ts';

const place = ownPlace();
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const newId = () => randomUUID();

describe('a good image', () => {
  it.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => gzipSync(tar)],
    ['xz', (tar: Buffer) => execFileSync('xz', ['-1', '-c'], { input: tar })],
    ['zstd', (tar: Buffer) => execFileSync('zstd', ['-q', '-c'], { input: tar })],
    ['bzip2', (tar: Buffer) => execFileSync('bzip2', ['-c'], { input: tar })],
  ])('(%s) comes out with the container`s ids, setuid bits and capabilities', async (_name, compress) => {
    const unpacked = await unpack(place.state, compress(pack(goodTree(place.state))));
    expect(unpacked.metadata.properties['os']).toBe('Busybox');
    expectGoodTree(join(place.state, 'image'));
    expect(lstatSync(join(place.state, 'image/metadata.yaml'))).toMatchObject({ uid: 0 });
    expect(statSync(join(place.state, 'image')).mode & 0o777).toBe(0o700);
  });

  it('in two files comes out the same', async () => {
    const tree = goodTree(place.state);
    await unpack(place.state, [pack(tree, 'metadata.yaml', 'templates'), pack(join(tree, 'rootfs'), '.')]);
    expectGoodTree(join(place.state, 'image'));
  });

  it('keeps attributes and access lists', async () => {
    const acl = 'user::rw-,user:1000:r--,group::r--,mask::r--,other::---';
    const file: Part = {
      name: 'rootfs/file',
      data: 'x',
      pax: { 'SCHILY.xattr.user.comment': 'hello', 'SCHILY.acl.access': acl },
    };
    await unpack(place.state, tarball([...GOOD_START, file]));
    const again = execFileSync('tar', [
      '-c',
      '--format=pax',
      '--xattrs',
      '--acls',
      '--numeric-owner',
      '-C',
      join(place.state, 'image/rootfs'),
      'file',
    ]).toString('latin1');
    expect(again).toContain('SCHILY.xattr.user.comment=hello');
    expect(again).toContain(`user:${IDMAP.base + 1000}:r--`);
  });
});

describe('the image cache', () => {
  let now: number;
  let served: number;

  function open(stateDir = place.state): ImageCache {
    now = Date.parse('2026-11-20');
    served = 0;
    return openImageCache({
      stateDir,
      idmap: IDMAP,
      trash: openTrash(join(stateDir, '.trash'), { run, newId }),
      now: () => now,
      newId,
      run,
      spawn: spawnPiped,
      random: () => 0.5,
      sleep: async () => {},
      // `data:` URLs go through the real fetch.
      fetch: async (...args) => {
        served += 1;
        return fetch(...args);
      },
    });
  }

  const offer =
    (bytes: Uint8Array): Locate =>
    async () => [
      [{ url: `data:;base64,${Buffer.from(bytes).toString('base64')}`, length: bytes.length, sha256: sha256(bytes) }],
    ];
  const good = tarball(GOOD_START);

  it('makes an image once, however often it is asked for at a time', async () => {
    const cache = open();
    await cache.open();
    const progress: number[] = [];
    const images = await Promise.all(
      [1, 2, 3].map(() => cache.ensure(sha256(good), offer(good), (bytes) => progress.push(bytes))),
    );
    expect(new Set(images.map(({ dir }) => dir)).size).toBe(1);
    expect(served).toBe(1);
    expect(progress.at(-1)).toBe(good.length);
    expect(images[0]).toMatchObject({ fingerprint: sha256(good), idmap: IDMAP, metadata: { architecture: 'x86_64' } });
    expect(await cache.list()).toEqual([sha256(good)]);
    expect(readdirSync(join(place.state, 'images')).sort()).toEqual(['.staging', sha256(good)].sort());
    expect(readdirSync(join(place.state, 'images/.staging'))).toEqual([]);
  });

  it('unpacks nothing that has another hash, and takes no other name than a hash', async () => {
    const cache = open();
    await cache.open();
    await expect(cache.ensure('0'.repeat(64), offer(good))).rejects.toThrow(/not what was asked for/);
    await expect(cache.ensure('../x', offer(good))).rejects.toMatchObject({ code: 'bad_name' });
    expect(readdirSync(join(place.state, 'images/.staging'))).toEqual([]);
    expect(await cache.list()).toEqual([]);
    expect((await cache.ensure(sha256(good), offer(good))).fingerprint).toBe(sha256(good));
  });

  it('writes for root only, whatever the umask', async () => {
    const before = process.umask(0);
    const cache = open();
    await cache.open();
    await cache.ensure(sha256(good), offer(good)).finally(() => process.umask(before));
    const open2others = execFileSync(
      'find',
      [join(place.state, 'images'), '-path', '*/rootfs', '-prune', '-o', '-perm', '/077', '-print'],
      { encoding: 'utf8' },
    );
    expect(open2others).toBe('');
  });

  it('removes what was not used for ten days, but nothing that is in use', async () => {
    const cache = open();
    await cache.open();
    await cache.ensure(sha256(good), offer(good));
    const day = 24 * 60 * 60_000;
    now += 9 * day;
    expect(await cache.expire(new Set())).toEqual([]);
    await cache.get(sha256(good));
    now += 9 * day;
    expect(await cache.expire(new Set())).toEqual([]);
    now += 2 * day;
    expect(await cache.expire(new Set([sha256(good)]))).toEqual([]);
    expect(await cache.expire(new Set())).toEqual([sha256(good)]);
    expect(await cache.get(sha256(good))).toBeUndefined();
  });

  it('empties what a crash left half-made', async () => {
    mkdirSync(join(place.state, 'images/.staging/half/image/rootfs'), { recursive: true });
    await open().open();
    expect(existsSync(join(place.state, 'images/.staging'))).toBe(false);
  });

  it.each([
    ['downloading', randomBytes(80_000_000)],
    [
      'unpacking',
      gzipSync(
        tarball([
          ...GOOD_START,
          { name: 'rootfs/big', data: Buffer.concat([randomBytes(20_000_000), Buffer.alloc(80_000_000)]) },
        ]),
      ),
    ],
  ])('says that the disk is full while %s, and gives all of it back', async (_when, bytes) => {
    const disk = join(place.state, 'disk');
    mkdirSync(disk);
    execFileSync('truncate', ['-s', '64M', `${disk}.img`]);
    execFileSync('mkfs.ext4', ['-q', `${disk}.img`]);
    execFileSync('mount', ['-o', 'loop', `${disk}.img`, disk]);
    try {
      const used = () => Number(execFileSync('df', ['--output=used', '-k', disk], { encoding: 'utf8' }).split('\n')[1]);
      const cache = open(disk);
      await cache.open();
      const before = used();
      await expect(cache.ensure(sha256(bytes), offer(bytes))).rejects.toMatchObject({ code: 'disk_full' });
      expect(readdirSync(join(disk, 'images/.staging'))).toEqual([]);
      expect(used() - before).toBeLessThan(100);
      expect((await cache.ensure(sha256(good), offer(good))).fingerprint).toBe(sha256(good));
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
