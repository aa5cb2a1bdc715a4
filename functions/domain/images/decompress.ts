import { pipeline, Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';

import xz from 'xz-decompress';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { SNIFF_BYTES, sniffCompression, type Compression } from '#shared/image/compression.ts';

/** The uncompressed bytes of a tarball, however it is packed. @throws FairleadError `bad_image` for what is no archive or broken. */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { head, rest } = await sniff(source);
  const unpacked = through(sniffCompression(head), Readable.from(rest, { objectMode: false }));
  try {
    for await (const chunk of unpacked) yield chunk as Uint8Array;
  } catch (cause) {
    throw new FairleadError(
      'bad_image',
      `The image's compressed data is broken: ${messageOf(cause)}. Make the tarball again and upload it anew.`,
      { cause },
    );
  }
}

function through(compression: Compression | undefined, source: Readable): AsyncIterable<unknown> {
  switch (compression) {
    case 'plain':
      return source;
    case 'gzip':
      return piped(source, createGunzip());
    case 'zstd':
      return piped(source, createZstdDecompress());
    case 'xz':
      // In WebAssembly, because functions have no programs beside them.
      return Readable.fromWeb(new xz.XzReadableStream(Readable.toWeb(source) as ReadableStream<Uint8Array>) as never);
    case 'bzip2':
    case 'lzma':
    case 'squashfs':
    case undefined:
      throw new FairleadError(
        'bad_image',
        `The file is ${compression ?? 'no'} ${compression === undefined ? 'tarball' : 'data'}; an image is a tarball, plain or packed with gzip, zstd or xz.`,
      );
  }
}

/** Through a pipeline, not `compose`: with that, an archive that ends too early is an error nobody can catch. */
function piped(source: Readable, through: Transform): Transform {
  // Whoever reads the far end is told of any failure.
  return pipeline(source, through, () => undefined);
}

async function sniff(source: AsyncIterable<Uint8Array>) {
  const iterator = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < SNIFF_BYTES) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    first.push(value);
    length += value.length;
  }
  async function* rest(): AsyncGenerator<Uint8Array> {
    yield* first;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  return { head: Buffer.concat(first), rest: rest() };
}
