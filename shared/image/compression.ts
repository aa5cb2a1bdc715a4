/** Which program packed a file, told from its first bytes. Names and content types of uploads are not believed. */
import { BLOCK } from './tar-header.ts';

export type Compression = 'plain' | 'gzip' | 'bzip2' | 'xz' | 'lzma' | 'zstd' | 'squashfs';

/** How many bytes of a file {@link sniffCompression} wants to see. */
export const SNIFF_BYTES = BLOCK;

const MAGIC: readonly (readonly [Compression, offset: number, bytes: readonly number[]])[] = [
  ['gzip', 0, [0x1f, 0x8b, 0x08]],
  ['bzip2', 0, [0x42, 0x5a, 0x68]],
  ['xz', 0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', 0, [0x28, 0xb5, 0x2f, 0xfd]],
  ['squashfs', 0, [0x68, 0x73, 0x71, 0x73]],
  ['plain', 257, [0x75, 0x73, 0x74, 0x61, 0x72]],
  // Last: lzma has no magic, only properties that nearly every file has.
  ['lzma', 0, [0x5d, 0x00, 0x00]],
];

/**
 * Tells how a tarball or root filesystem is packed; `plain` is a bare tarball.
 * @param head its first {@link SNIFF_BYTES} bytes, or all of it
 * @returns undefined for anything else
 */
export function sniffCompression(head: Uint8Array): Compression | undefined {
  return MAGIC.find(([, offset, bytes]) => bytes.every((byte, i) => head[offset + i] === byte))?.[0];
}
