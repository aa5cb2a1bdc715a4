import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { tarball } from '#shared/image/tar.fixture.ts';
import { spawnPiped } from '../process.ts';
import { decompress } from './decompress.ts';

const tar = tarball([{ name: 'a', data: 'b'.repeat(2_000_000) }]);
const by = (program: string, ...args: string[]) => execFileSync(program, args, { input: tar });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'decompress-'));
});
afterAll(async () => rm(folder, { recursive: true }));

async function contents(bytes: Uint8Array): Promise<Buffer> {
  const path = join(folder, 'file');
  await writeFile(path, bytes);
  const pieces: Uint8Array[] = [];
  for await (const piece of (await decompress(path, (argv) => spawnPiped(argv))).bytes) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('decompress', () => {
  it.each([
    ['nothing', tar],
    ['gzip', gzipSync(tar)],
    ['gzip in two members', Buffer.concat([gzipSync(tar.subarray(0, 1000)), gzipSync(tar.subarray(1000))])],
    ['zstd', zstdCompressSync(tar)],
    [
      'zstd in two frames',
      Buffer.concat([zstdCompressSync(tar.subarray(0, 1000)), zstdCompressSync(tar.subarray(1000))]),
    ],
    ['zstd -19 --long=27', by('zstd', '-c', '-19', '--long=27')],
    ['xz', by('xz', '-c')],
    ['lzma', by('xz', '-c', '--format=lzma')],
    ['bzip2', by('bzip2', '-c')],
  ])('undoes %s', async (_what, bytes) => {
    expect((await contents(bytes)).equals(Buffer.from(tar))).toBe(true);
  });

  it.each([
    ['gzip', gzipSync(tar)],
    ['zstd', zstdCompressSync(tar)],
    ['xz', by('xz', '-c')],
    ['bzip2', by('bzip2', '-c')],
  ])('says that a %s file was cut off', async (_what, bytes) => {
    const failure = contents(bytes.subarray(0, bytes.length - 20));
    await expect(failure).rejects.toThrow(/could not be decompressed/);
    await expect(failure).rejects.toSatisfy((error) => isFairleadError(error, 'bad_image'));
  });

  it('refuses what is no archive, and squashfs with a way out', async () => {
    await expect(contents(Buffer.from('hello'))).rejects.toThrow(/neither a tarball/);
    await expect(contents(Buffer.from('hsqs    '))).rejects.toThrow(/root.tar.xz/);
  });

  it('ends the program when the reader leaves early', async () => {
    const path = join(folder, 'early');
    await writeFile(path, by('xz', '-c'));
    const children: Promise<unknown>[] = [];
    const source = await decompress(path, async (argv) => {
      const child = await spawnPiped(argv);
      children.push(child.exited);
      return child;
    });
    for await (const piece of source.bytes) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await Promise.all(children);
    expect(children).toHaveLength(1);
  });
});
