/**
 * What a root filesystem has that its image has not, as one stream that any storage can make and any storage can take:
 *
 *   zstd( {"v":1,"names":N,"deleted":M}\n  names  deleted  tar )
 *
 * `names`: every path of its own with its type, `deleted`: paths of the image it does not have, both sorted and ended by NUL; the tar holds the
 * entries that changed since the pass before. Read and written in the instance's user namespaces, so owners are the guest's ids on both ends.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { MAX_FILE_BYTES } from '#shared/image/inspect.ts';
import { spawnConfined, type Confinement, type Spawn } from '../images/confine.ts';
import { noRoom, saysDiskFull } from '../images/disk-full.ts';
import { reasonOf, type Argv, type PipedChild } from '../process.ts';
import { compressed, decompressed, Take } from './framing.ts';
import { deletedPaths, list, ownPaths, withParents, type Tree } from './tree.ts';

const PACK_TIMEOUT_MS = 6 * 60 * 60_000;
/** Bytes of each list. */
const MAX_LIST_BYTES = 512 * 1024 * 1024;
const MAX_HEADER_BYTES = 1024;
/** An entry that changed so shortly before it was listed may change again without another time to show for it. */
const FRESH_S = 2;

/** When each path of its own changed last, as the pass before saw it; entries that may have changed unseen are left out. */
export type Seen = ReadonlyMap<string, string>;

const XATTRS = [
  '--numeric-owner',
  '--acls',
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
];
const PACK: Argv = [
  'tar',
  '--create',
  '--file=-',
  '--directory=/out',
  '--format=pax',
  '--sparse',
  ...XATTRS,
  '--no-recursion',
  '--null',
  '--verbatim-files-from',
  '--files-from=-',
  '--ignore-failed-read',
  '--warning=no-file-changed',
  '--warning=no-file-ignored',
  '--warning=no-file-removed',
];
const UNPACK: Argv = [
  'tar',
  '--extract',
  '--file=-',
  '--directory=/out',
  '--same-owner',
  '--same-permissions',
  '--delay-directory-restore',
  '--warning=no-timestamp',
  ...XATTRS,
];
const DELETE: Argv = ['sh', '-c', 'cd /out && exec xargs -0 -r rm -rf --'];

const header = z.object({
  v: z.literal(1),
  names: z.int().min(0).max(MAX_LIST_BYTES),
  deleted: z.int().min(0).max(MAX_LIST_BYTES),
});

/** One pass, ready to be sent. */
export interface Pass {
  readonly stream: AsyncIterable<Uint8Array>;
  /** For the pass after this one. */
  readonly seen: Seen;
}

/**
 * Lists a tree and gives the stream of what changed since `before`.
 * @param live the guest runs: a file that changes or vanishes while it is read comes again in the next pass
 * @param now milliseconds since 1970
 */
export async function packDifference(
  spawn: Spawn,
  tree: Tree,
  { before, live, now }: { readonly before: Seen | undefined; readonly live: boolean; readonly now: number },
): Promise<Pass> {
  const [merged, upper, image] = await Promise.all([
    list(spawn, tree.rootfs, tree),
    tree.upper === undefined ? undefined : list(spawn, tree.upper, tree),
    tree.image === undefined ? new Map<string, never>() : list(spawn, tree.image, tree),
  ]);
  const own = ownPaths(merged, upper);
  const changed = own.filter(
    (path) => before?.get(path) === undefined || before.get(path) !== merged.get(path)?.changed,
  );
  const seen = new Map<string, string>();
  for (const path of own) {
    const at = merged.get(path)?.changed ?? '';
    if (Number(at) < now / 1000 - FRESH_S) seen.set(path, at);
  }
  const names = latin1(own.map((path) => `${merged.get(path)?.type ?? '?'}${path}\0`));
  const deleted = latin1(deletedPaths(image, merged).map((path) => `${path}\0`));
  const entries = withParents(changed).filter((path) => merged.get(path)?.type !== 's');
  const plain = plainStream(spawn, tree, { names, deleted, entries, live });
  return { stream: compressed(plain), seen };
}

async function* plainStream(
  spawn: Spawn,
  tree: Tree,
  pass: {
    readonly names: Buffer;
    readonly deleted: Buffer;
    readonly entries: readonly string[];
    readonly live: boolean;
  },
): AsyncGenerator<Uint8Array> {
  const { names, deleted, entries, live } = pass;
  yield Buffer.from(`${JSON.stringify({ v: 1, names: names.length, deleted: deleted.length })}\n`);
  yield names;
  yield deleted;
  const tar = await confined(spawn, PACK, tree, 'ro');
  const deadline = setTimeout(() => tar.kill(), PACK_TIMEOUT_MS);
  try {
    // The top itself: its owner, mode and times are the instance's too.
    tar.stdin.end(latin1(['.', ...entries.map((path) => `./${path}`)].map((path) => `${path}\0`)));
    yield* tar.stdout as AsyncIterable<Buffer>;
    const exit = await tar.exited;
    if (exit.code === 0 || (live && exit.code === 1)) return;
    throw new FairleadError(
      'host_failed',
      `The files could not be packed: ${reasonOf({ ...exit, stderr: tar.stderr() })}.`,
    );
  } finally {
    clearTimeout(deadline);
    tar.kill();
    await tar.exited;
  }
}

/**
 * Applies a pass to a tree that was fresh before the first one.
 * @param before the names of the pass before, as this returned them
 * @returns this pass's names
 * @throws FairleadError `disk_full`, `protocol`, `host_failed`
 */
export async function applyDifference(
  spawn: Spawn,
  tree: Pick<Tree, 'rootfs' | 'idmap' | 'scratch'>,
  stream: AsyncIterable<Uint8Array>,
  before: Uint8Array | undefined,
): Promise<Uint8Array> {
  const reader = new Take(decompressed(stream));
  const { names: namesLength, deleted: deletedLength } = header.parse(JSON.parse(await reader.line(MAX_HEADER_BYTES)));
  const names = await reader.bytes(namesLength);
  const deleted = await reader.bytes(deletedLength);
  const doomed = doomedPaths(before, names, deleted).map((path) => `./${path}\0`);
  if (doomed.length > 0) {
    const remove = await confined(spawn, DELETE, tree, 'rw');
    remove.stdout.resume();
    remove.stdin.end(latin1(doomed));
    await succeeded(remove, 'files that are gone could not be deleted');
  }
  const tar = await confined(spawn, UNPACK, tree, 'rw');
  tar.stdout.resume();
  try {
    // A tar that failed shows in its exit; the broken pipe says nothing more.
    await pipeline(Readable.from(reader.rest()), tar.stdin).catch(async (error: unknown) => {
      const early = await Promise.race([tar.exited, Promise.resolve(undefined)]);
      if (early === undefined || early.code === 0) throw error;
    });
    await succeeded(tar, 'the files could not be written');
  } finally {
    tar.kill();
    await tar.exited;
  }
  return names;
}

/**
 * The paths to delete first: what the pass before brought and this one does not name, or names as something else; and what the image has
 * and the instance has not, but for paths that the pass before has given anew.
 */
function doomedPaths(before: Uint8Array | undefined, names: Uint8Array, deleted: Uint8Array): string[] {
  const now = new Set(records(names));
  const was = before === undefined ? [] : records(before);
  const kept = new Set(was.filter((record) => now.has(record)).map((record) => record.slice(1)));
  const gone = was.filter((record) => !now.has(record)).map((record) => record.slice(1));
  return [...gone, ...records(deleted).filter((path) => !kept.has(path))];
}

function records(bytes: Uint8Array): string[] {
  return Buffer.from(bytes).toString('latin1').split('\0').filter(Boolean);
}

function latin1(parts: readonly string[]): Buffer {
  return Buffer.from(parts.join(''), 'latin1');
}

function confined(
  spawn: Spawn,
  argv: Argv,
  { rootfs, idmap, scratch }: Pick<Tree, 'rootfs' | 'idmap' | 'scratch'>,
  access: 'ro' | 'rw',
): Promise<PipedChild> {
  const confinement: Confinement = { idmap, scratch, maxFileBytes: MAX_FILE_BYTES, folder: { path: rootfs, access } };
  return spawnConfined(spawn, argv, confinement);
}

async function succeeded(child: PipedChild, what: string): Promise<void> {
  const exit = await child.exited;
  if (exit.code === 0) return;
  if (saysDiskFull(child.stderr())) throw noRoom();
  throw new FairleadError('host_failed', `On the target ${what}: ${reasonOf({ ...exit, stderr: child.stderr() })}.`);
}
