/** Hostile images on a real host: two walls, the rules and the confinement, each tested alone, under watched canaries. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GOOD_START, hostileTarballs } from '#shared/image/hostile.fixture.ts';
import { tarball, type Part } from '#shared/image/tar.fixture.ts';
import { spawnConfined } from '../../host-connector/images/confine.ts';
import { spawnPiped } from '../../host-connector/process.ts';
import { fingerprint, IDMAP, nothingHalfMade, ownPlace, unpack } from './images.fixture.ts';

/** Files are limited in blocks of 512 bytes. */
const MAX_FILE = 512 * 2000;
const inRange = (id: number) => id === 0 || (id >= IDMAP.base && id < IDMAP.base + IDMAP.size);
const place = ownPlace();

describe('a hostile image', () => {
  it.each(hostileTarballs().map(({ name }) => name))(
    '%s: is refused, reaches no canary, leaves nothing',
    async (name) => {
      const { bytes, why } = hostileTarballs(join(place.canaries, 'canary')).find((hostile) => hostile.name === name)!;
      const before = fingerprint(place.canaries);
      await expect(unpack(place.state, bytes)).rejects.toThrow(why);
      nothingHalfMade(place.state);
      expect(fingerprint(place.canaries)).toEqual(before);
    },
  );

  /** The second wall alone: what if the rules missed something? */
  async function unpackUnjudged(bytes: Uint8Array, name: string): Promise<string> {
    const folder = join(place.state, name);
    const scratch = join(place.state, 'scratch');
    mkdirSync(scratch, { recursive: true });
    mkdirSync(folder);
    execFileSync('chown', [`${IDMAP.base}:${IDMAP.base}`, folder]);
    const argv = [
      'tar',
      '-x',
      '-f',
      '-',
      '-C',
      '/out',
      '--absolute-names',
      '--numeric-owner',
      '-p',
      '--xattrs',
      '--xattrs-include=*',
    ] as const;
    const tar = await spawnConfined(spawnPiped, argv, {
      idmap: IDMAP,
      scratch,
      maxFileBytes: MAX_FILE,
      folder: { path: folder, access: 'rw' },
    });
    tar.stdout.resume();
    tar.stdin.end(bytes);
    await tar.exited;
    return folder;
  }

  function onlyHarmless(folder: string): void {
    const walk = (path: string): void => {
      const stats = lstatSync(path);
      // A character device 0:0 is the kernel's mark for a deleted file and no device.
      const device = stats.isBlockDevice() || (stats.isCharacterDevice() && stats.rdev !== 0);
      expect([device, inRange(stats.uid), inRange(stats.gid)], path).toEqual([false, true, true]);
      if (stats.mode & 0o6000) expect(stats.uid, path).not.toBe(0);
      if (stats.isFile()) expect(stats.size).toBeLessThanOrEqual(MAX_FILE);
      if (stats.isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
    };
    walk(folder);
  }

  it('reaches nothing outside even when no rule looks at it and tar is told to follow every name', async () => {
    const before = fingerprint(place.canaries);
    for (const [i, { bytes }] of hostileTarballs(join(place.canaries, 'canary')).entries())
      onlyHarmless(await unpackUnjudged(bytes, `u${i}`));
    expect(fingerprint(place.canaries)).toEqual(before);
  });

  it('reaches nothing outside whatever names, links and ids are drawn', async () => {
    const canary = join(place.canaries, 'canary');
    const name = fc.oneof(
      fc.constantFrom(
        canary,
        `../../../../../../../..${canary}`,
        'a',
        'a/b',
        'a/canary',
        '.',
        '..',
        'a/../..',
        place.canaries,
        '/usr/bin/evil',
        '/userns',
        '/old',
      ),
      fc.string({ minLength: 1, maxLength: 20 }),
    );
    const part: fc.Arbitrary<Part> = fc.record({
      name,
      link: name,
      type: fc.constantFrom('0', '1', '2', '3', '4', '5', '6'),
      mode: fc.constantFrom(0o644, 0o755, 0o6777, 0),
      uid: fc.constantFrom(0, 1000, 65_535, 200_000),
    });
    const before = fingerprint(place.canaries);
    let i = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 8 }), async (parts) => {
        const folder = await unpackUnjudged(
          tarball(parts.map((each) => (each.type === '0' ? { ...each, data: 'evil' } : each))),
          `g${i++}`,
        );
        onlyHarmless(folder);
        rmSync(folder, { recursive: true, force: true });
        expect(fingerprint(place.canaries)).toEqual(before);
      }),
      { numRuns: 40 },
    );
    expect(existsSync('/usr/bin/evil')).toBe(false);
  });

  it.each([
    ['gzip', (bytes: Uint8Array) => gzipSync(bytes)],
    ['xz', (bytes: Uint8Array) => execFileSync('xz', ['-1', '-c'], { input: bytes, maxBuffer: 1e9 })],
    ['zstd', (bytes: Uint8Array) => execFileSync('zstd', ['-q', '-c'], { input: bytes, maxBuffer: 1e9 })],
    ['bzip2', (bytes: Uint8Array) => execFileSync('bzip2', ['-1', '-c'], { input: bytes, maxBuffer: 1e9 })],
  ])('that is a bomb of %s is stopped early', async (_name, compress) => {
    const bomb = compress(tarball([...GOOD_START, { name: 'rootfs/zeros', data: new Uint8Array(300_000_000) }]));
    const begun = performance.now();
    await expect(unpack(place.state, bomb)).rejects.toThrow(/more than 100 times/);
    expect(performance.now() - begun).toBeLessThan(10_000);
    nothingHalfMade(place.state);
  });

  it.each(['tar', 'gzip'])('that was cut off (%s) is refused', async (kind) => {
    const whole = tarball([...GOOD_START, { name: 'rootfs/data', data: randomBytes(3_000_000) }]);
    const cut = kind === 'tar' ? whole.subarray(0, 2_000_000) : gzipSync(whole).subarray(0, 2_000_000);
    await expect(unpack(place.state, cut)).rejects.toThrow(/ends in the middle|could not be decompressed/);
    nothingHalfMade(place.state);
  });

  it('that takes too long is stopped, with everything it started', async () => {
    const slow = tarball([...GOOD_START, ...Array.from({ length: 30_000 }, (_, i): Part => ({ name: `rootfs/${i}` }))]);
    await expect(unpack(place.state, slow, { timeoutMs: 150 })).rejects.toMatchObject({ code: 'timed_out' });
    nothingHalfMade(place.state);
    expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(place.state);
  });
});
