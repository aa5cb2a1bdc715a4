import { createHash } from 'node:crypto';

/** A stream of bytes travels as chunks: write-once objects, each named by its place and its SHA-256. */

/** Bytes of every chunk but the last. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** 64 GiB. */
export const MAX_CHUNKS = 16_384;

/** One chunk of a stream. `length` in bytes, `sha256` in hex. */
export interface Chunk {
  readonly seq: number;
  readonly length: number;
  readonly sha256: string;
}

/** A chunk with its bytes. */
export interface FullChunk extends Chunk {
  readonly bytes: Uint8Array;
}

/** The name of a chunk's object, behind the prefix of its move and attempt. */
export function chunkName(stream: string, { seq, sha256 }: Pick<Chunk, 'seq' | 'sha256'>): string {
  return `${stream}-${String(seq).padStart(6, '0')}-${sha256}`;
}

/** Lower-case hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Cuts a stream into chunks of `size` bytes; the last one is what is left. The bytes of a chunk are its receiver's
 * to keep.
 */
export async function* cut(source: AsyncIterable<Uint8Array>, size = CHUNK_BYTES): AsyncGenerator<FullChunk> {
  let buffer = new Uint8Array(size);
  let filled = 0;
  let seq = 0;
  const take = (): FullChunk => {
    const bytes = buffer.subarray(0, filled);
    filled = 0;
    return { seq: seq++, length: bytes.length, sha256: sha256(bytes), bytes };
  };
  for await (const piece of source) {
    for (let from = 0; from < piece.length;) {
      if (filled === size) {
        yield take();
        buffer = new Uint8Array(size);
      }
      const part = piece.subarray(from, from + size - filled);
      buffer.set(part, filled);
      filled += part.length;
      from += part.length;
    }
  }
  if (filled > 0) yield take();
}
