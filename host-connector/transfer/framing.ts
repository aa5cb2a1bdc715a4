/** Streams with a line of JSON in front, compressed: what the parts of an instance travel as. */
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';

import { FairleadError } from '#shared/errors.ts';

/** Fast: a link is rarely faster than this, and the last streams of a move are downtime. */
const ZSTD_LEVEL = 1;

/** Compresses a stream. */
export function compressed(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return piped(source, createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }));
}

/** Decompresses what {@link compressed} made; what is behind it throws in the loop, damage too. */
export function decompressed(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return piped(source, createZstdDecompress());
}

/** A stream behind a transformation; an error of either comes out of the loop over it. */
async function* piped(source: AsyncIterable<Uint8Array>, through: NodeJS.ReadWriteStream): AsyncGenerator<Uint8Array> {
  const out = new PassThrough();
  const done = pipeline(Readable.from(source), through, out);
  // Seen below, or by the loop: not as an unhandled one.
  done.catch(() => {});
  yield* out as AsyncIterable<Buffer>;
  await done;
}

/** Takes a stream apart: a line, so many bytes, the rest. */
export class Take {
  readonly #source: AsyncIterator<Uint8Array>;
  #left: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Up to a line's end, which is taken off. @throws FairleadError `protocol` */
  async line(max: number): Promise<string> {
    while (!this.#left.includes(10)) {
      if (this.#left.length > max) throw damaged();
      this.#left = Buffer.concat([this.#left, await this.#more()]);
    }
    const at = this.#left.indexOf(10);
    const line = Buffer.from(this.#left.subarray(0, at)).toString();
    this.#left = this.#left.subarray(at + 1);
    return line;
  }

  /** Some bytes, at least one and at most so many. */
  async upTo(length: number): Promise<Uint8Array> {
    while (this.#left.length === 0) this.#left = await this.#more();
    const piece = this.#left.subarray(0, length);
    this.#left = this.#left.subarray(piece.length);
    return piece;
  }

  /** Exactly so many. @throws FairleadError `protocol` */
  async bytes(length: number): Promise<Uint8Array> {
    const parts = [this.#left];
    for (let have = this.#left.length; have < length;) {
      const piece = await this.#more();
      parts.push(piece);
      have += piece.length;
    }
    const all = Buffer.concat(parts);
    this.#left = all.subarray(length);
    return all.subarray(0, length);
  }

  /** All that has not been taken. */
  async *rest(): AsyncGenerator<Uint8Array> {
    if (this.#left.length > 0) yield this.#left;
    for (let next = await this.#source.next(); !next.done; next = await this.#source.next()) yield next.value;
  }

  async #more(): Promise<Uint8Array> {
    const next = await this.#source.next();
    if (next.done) throw damaged();
    return next.value;
  }
}

function damaged(): FairleadError {
  return new FairleadError(
    'protocol',
    'What the source sent ends before its end. Update both connectors, then move again.',
  );
}
