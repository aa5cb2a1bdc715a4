/** Unpacks the compression of an image's file, as a stream: gzip here, all others by their programs, confined. */
import { createReadStream, type ReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { SNIFF_BYTES, sniffCompression, type Compression } from '#shared/image/compression.ts';
import { FairleadError, messageOf } from '#shared/errors.ts';
import { reasonOf, type Argv, type PipedChild } from '../process.ts';

/** Starts a decompression program in confinement. */
export type SpawnDecompressor = (argv: Argv) => Promise<PipedChild>;

/** A tarball as it streams by. */
export interface Decompressed {
  /** The bare tarball. Leaving the loop early ends everything behind it. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Bytes read of the file so far: at least as many as have come out. */
  readonly compressedBytes: () => number;
  /** Ends it at once: the loop over `bytes` throws or finishes. */
  readonly stop: () => void;
}

/** How nsenter exits when there is no such program. */
const PROGRAM_MISSING = 127;
/** Bytes of a piece. */
const PIECE = 256 * 1024;
/** Memory a decompression program may use: xz -9 needs 65 MiB. */
const XZ_MEMORY = '256MiB';
const ZSTD_MEMORY = '256MiB';

const PROGRAMS: Partial<Record<Compression, Argv>> = {
  xz: ['xz', '--threads=0', '--decompress', '--stdout', `--memlimit-decompress=${XZ_MEMORY}`],
  lzma: ['xz', '--format=lzma', '--decompress', '--stdout', `--memlimit-decompress=${XZ_MEMORY}`],
  // Node's own zstd drops what follows the first frame of a write; programs that compress in parallel write many frames.
  zstd: ['zstd', '--decompress', '--stdout', '--quiet', `--memory=${ZSTD_MEMORY}`],
  bzip2: ['bzip2', '--decompress', '--stdout'],
};

/** Opens a tarball of any compression. @throws FairleadError `bad_image` when it is none that we can unpack */
export async function decompress(path: string, spawn: SpawnDecompressor): Promise<Decompressed> {
  const compression = await sniff(path);
  if (compression === undefined) {
    throw new FairleadError(
      'bad_image',
      'The image is neither a tarball nor compressed by gzip, zstd, xz or bzip2; pack it as one of these.',
    );
  }
  if (compression === 'squashfs') {
    throw new FairleadError(
      'bad_image',
      'The image is a squashfs, which this host cannot unpack yet; use its tarball (root.tar.xz) instead.',
    );
  }
  const file = createReadStream(path, { highWaterMark: PIECE });
  const argv = PROGRAMS[compression];
  const bytes = argv === undefined ? builtIn(file, compression) : byProgram(file, argv, spawn);
  return { bytes, compressedBytes: () => file.bytesRead, stop: () => file.destroy() };
}

async function sniff(path: string): Promise<Compression | undefined> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFF_BYTES), 0, SNIFF_BYTES, 0);
  return sniffCompression(buffer.subarray(0, bytesRead));
}

async function* builtIn(file: ReadStream, compression: Compression): AsyncGenerator<Uint8Array> {
  try {
    if (compression === 'gzip') yield* pipeline(file, createGunzip({ chunkSize: PIECE }), () => {});
    else yield* file;
  } catch (cause) {
    throw damaged(messageOf(cause), cause);
  } finally {
    file.destroy();
  }
}

async function* byProgram(file: ReadStream, argv: Argv, spawn: SpawnDecompressor): AsyncGenerator<Uint8Array> {
  const child = await spawn(argv);
  try {
    // A program that stops reading says so by its exit, below.
    pipeline(file, child.stdin, () => {});
    yield* child.stdout;
    const exit = await child.exited;
    if (exit.code === PROGRAM_MISSING) {
      throw new FairleadError(
        'host_failed',
        `${argv[0]} is not installed on this host, and the image needs it; install it.`,
      );
    }
    if (exit.code !== 0) throw damaged(`${argv[0]}: ${reasonOf({ ...exit, stderr: child.stderr() })}`);
  } finally {
    file.destroy();
    child.kill();
  }
}

function damaged(why: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'bad_image',
    `The image could not be decompressed (${why}): it is damaged or was cut off. Upload it again.`,
    { cause },
  );
}
