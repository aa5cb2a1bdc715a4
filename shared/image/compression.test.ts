import { execFileSync } from 'node:child_process';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { sniffCompression } from './compression.ts';
import { tarball } from './tar.fixture.ts';

const tar = tarball([{ name: 'a', data: 'b' }]);
const by = (program: string, ...args: string[]) => execFileSync(program, args, { input: tar });

describe('sniffCompression', () => {
  it.each([
    ['plain', tar],
    ['gzip', gzipSync(tar)],
    ['zstd', zstdCompressSync(tar)],
    ['xz', by('xz', '-c')],
    ['lzma', by('xz', '-c', '--format=lzma')],
    ['bzip2', by('bzip2', '-c')],
    ['squashfs', Buffer.from('hsqs\0\0\0\0')],
  ] as const)('knows %s', (compression, bytes) => {
    expect(sniffCompression(bytes)).toBe(compression);
  });

  it('does not guess', () => {
    expect(sniffCompression(new Uint8Array(0))).toBeUndefined();
    expect(sniffCompression(new TextEncoder().encode('<html>'.repeat(100)))).toBeUndefined();
  });
});
