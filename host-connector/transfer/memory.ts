/** The image of an instance's processes as one stream: `zstd( {"v":1,"files":[{name,size}]}\n  bytes of each )`. It is flat, so no archive program reads what a stranger wrote. */
import { createReadStream } from 'node:fs';
import { chmod, lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { diskFull } from '../images/disk-full.ts';
import { compressed, decompressed, Take } from './framing.ts';

const MAX_FILES = 20_000;
const MAX_HEADER_BYTES = 4 * 1024 * 1024;
const MAX_FILE_BYTES = 1024 ** 4;
const PIECE = 256 * 1024;

const header = z.object({
  v: z.literal(1),
  files: z
    .array(
      z.object({
        name: z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$/),
        size: z.int().min(0).max(MAX_FILE_BYTES),
      }),
    )
    .max(MAX_FILES),
});

/** Packs the files of a folder, but for logs. */
export async function packMemory(folder: string): Promise<AsyncIterable<Uint8Array>> {
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.log')).sort();
  const files = await Promise.all(names.map(async (name) => ({ name, size: (await lstat(join(folder, name))).size })));
  return compressed(plain(folder, header.parse({ v: 1, files })));
}

async function* plain(folder: string, head: z.infer<typeof header>): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${JSON.stringify(head)}\n`);
  for (const { name, size } of head.files) {
    if (size > 0) yield* createReadStream(join(folder, name), { end: size - 1, highWaterMark: PIECE });
  }
}

/**
 * Unpacks into an empty folder; files are readable to the container's root, which CRIU reads some of them as.
 * @throws FairleadError `protocol`, `disk_full`
 */
export async function unpackMemory(folder: string, stream: AsyncIterable<Uint8Array>): Promise<void> {
  const reader = new Take(decompressed(stream));
  const { files } = header.parse(JSON.parse(await reader.line(MAX_HEADER_BYTES)));
  try {
    for (const { name, size } of files) {
      await using file = await open(join(folder, name), 'wx', 0o644);
      for (let left = size; left > 0;) {
        const piece = await reader.upTo(left);
        await file.writeFile(piece);
        left -= piece.length;
      }
      await chmod(join(folder, name), 0o644);
    }
  } catch (error) {
    throw diskFull(error) ?? error;
  }
  for await (const _ of reader.rest()) {
    throw new FairleadError('protocol', 'The memory of the instance has more bytes than it names. Move it again.');
  }
}
