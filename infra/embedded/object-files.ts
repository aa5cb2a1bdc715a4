import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, rmdir, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { FairleadError, messageOf } from '#shared/errors.ts';
import type { ObjectHead } from '../../functions/ports/objects.ts';

/**
 * Objects as files. `a/b/c` is the file `a/b/c~` (so that `a` and `a/b` may both be objects): the bytes, then a trailer with their SHA-256.
 * A file is made under another name and appears whole, or not at all.
 */

const MAX_KEY = 900;
const MAX_SEGMENT = 200;
const SEGMENT = /^[A-Za-z0-9_@=+-][A-Za-z0-9._@=+-]*$/;
/** Cannot be the segment of a key, which never begins with a dot. */
const INCOMING = '.incoming';
const SUFFIX = '~';
const TRAILER_MARK = Buffer.from('FLOBJ\0\0\x01', 'latin1');
const TRAILER_BYTES = TRAILER_MARK.length + 32;
const READ_AHEAD = 256 * 1024;
const WRITE_BEHIND = 1024 * 1024;
/** Making a directory may meet the removal of an empty one; a few times at most. */
const PLACE_ATTEMPTS = 5;

/** What became of bytes that were written. */
type Outcome = 'stored' | 'exists' | 'mismatch';

interface Expected {
  readonly sha256?: string;
  readonly once: boolean;
}

export interface ObjectFiles {
  /** Stores the bytes of `source` unless they are not the expected ones or, with `once`, the key is taken. */
  write(key: string, source: Readable | AsyncIterable<Uint8Array>, expected: Expected): Promise<Outcome>;
  /** The bytes from `start` up to, not including, `end`. */
  read(key: string, start: number, end: number): Readable;
  head(key: string): Promise<Required<ObjectHead> | undefined>;
  list(prefix: string): Promise<string[]>;
  remove(key: string): Promise<void>;
}

/**
 * Opens the objects under `root`, made with mode 0700, and clears away what a crash left half written.
 * @throws FairleadError `bad_name` (every call) for a key that is no plain relative path, `disk_full`, `unavailable`.
 */
export async function openObjectFiles(root: string): Promise<ObjectFiles> {
  await rm(join(root, INCOMING), { recursive: true, force: true });
  await mkdir(join(root, INCOMING), { recursive: true, mode: 0o700 });
  return {
    write: (key, source, expected) => write(root, key, source, expected),
    read: (key, start, end) => createReadStream(fileOf(root, key), { start, end: end - 1, highWaterMark: READ_AHEAD }),
    head: (key) => head(fileOf(root, key)),
    list: (prefix) => list(root, prefix),
    remove: (key) => remove(root, fileOf(root, key)),
  };
}

/** True for a key that can be a file: segments of letters, digits and `._@=+-`, none beginning with a dot. */
export function isObjectKey(key: string): boolean {
  return key.length <= MAX_KEY && key.split('/').every((part) => part.length <= MAX_SEGMENT && SEGMENT.test(part));
}

function fileOf(root: string, key: string): string {
  if (isObjectKey(key)) return join(root, key + SUFFIX);
  throw new FairleadError(
    'bad_name',
    `${JSON.stringify(key).slice(0, 100)} is no object key: use letters, digits and ._@=+- between slashes`,
  );
}

async function write(
  root: string,
  key: string,
  source: Readable | AsyncIterable<Uint8Array>,
  expected: Expected,
): Promise<Outcome> {
  const file = fileOf(root, key);
  const temporary = join(root, INCOMING, randomUUID());
  try {
    const hash = await writeHashed(temporary, source);
    if (expected.sha256 !== undefined && expected.sha256 !== hash) return 'mismatch';
    return await place(root, temporary, file, expected.once);
  } catch (error) {
    throw diskFailure(error);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function writeHashed(path: string, source: Readable | AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  const hashing = new Transform({
    writableHighWaterMark: WRITE_BEHIND,
    transform(chunk: Uint8Array, _, done) {
      hash.update(chunk);
      done(null, chunk);
    },
    flush(done) {
      done(null, Buffer.concat([TRAILER_MARK, hash.copy().digest()]));
    },
  });
  // `flush` makes the stream fsync before it closes.
  await pipeline(
    source,
    hashing,
    createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true, highWaterMark: WRITE_BEHIND }),
  );
  return hash.digest('hex');
}

/** Gives a finished file its name: `link` refuses a name that is taken, `rename` replaces it; both at once or not at all. */
async function place(root: string, temporary: string, file: string, once: boolean): Promise<Outcome> {
  for (let attempt = 1; ; attempt += 1) {
    const made = await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    try {
      await (once ? link(temporary, file) : rename(temporary, file));
      await syncDirectories(dirname(file), made === undefined ? dirname(file) : root);
      return 'stored';
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return 'exists';
      if (!hasCode(error, 'ENOENT') || attempt === PLACE_ATTEMPTS) throw error;
    }
  }
}

/** Makes names durable, from the directory that got one up to the last that did. */
async function syncDirectories(from: string, last: string): Promise<void> {
  for (let directory = from; ; directory = dirname(directory)) {
    const handle = await open(directory);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (directory === last) return;
  }
}

async function head(file: string): Promise<Required<ObjectHead> | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file);
    const length = (await handle.stat()).size - TRAILER_BYTES;
    const trailer = Buffer.alloc(TRAILER_BYTES);
    if (length >= 0) await handle.read(trailer, 0, TRAILER_BYTES, length);
    if (!trailer.subarray(0, TRAILER_MARK.length).equals(TRAILER_MARK)) {
      throw new FairleadError(
        'unavailable',
        `the object file ${file} is damaged: its trailer is missing; restore or delete it`,
      );
    }
    return { length, sha256: trailer.toString('hex', TRAILER_MARK.length) };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  } finally {
    await handle?.close();
  }
}

async function list(root: string, prefix: string): Promise<string[]> {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  if (folder !== '' && !isObjectKey(folder.slice(0, -1))) return [];
  const found: string[] = [];
  const walk = async (path: string): Promise<void> => {
    for (const entry of await entriesOf(join(root, path))) {
      const name = path + entry.name;
      if (entry.isFile() && name.endsWith(SUFFIX)) found.push(name.slice(0, -SUFFIX.length));
      // Only folders that can hold such keys are entered.
      else if (entry.isDirectory() && entry.name !== INCOMING && sharesPrefix(`${name}/`, prefix))
        await walk(`${name}/`);
    }
  };
  await walk(folder);
  return found.filter((key) => key.startsWith(prefix)).sort();
}

function sharesPrefix(path: string, prefix: string): boolean {
  return path.startsWith(prefix) || prefix.startsWith(path);
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Removes a file, and the folders that became empty by it. */
async function remove(root: string, file: string): Promise<void> {
  await rm(file, { force: true });
  for (let folder = dirname(file); folder !== root; folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch (error) {
      if (hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EEXIST')) return;
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function diskFailure(error: unknown): unknown {
  if (hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT')) {
    return new FairleadError(
      'disk_full',
      'the object could not be stored: the disk of the control plane is full; free space in its data directory',
      { cause: error },
    );
  }
  if (hasCode(error, 'EIO') || hasCode(error, 'EROFS') || hasCode(error, 'EMFILE')) {
    return new FairleadError('unavailable', `the object could not be stored: ${messageOf(error)}; try again`, {
      cause: error,
    });
  }
  return error;
}
