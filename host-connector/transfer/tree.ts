/** The entries of a root filesystem, read where nothing of the host can be reached. */
import { FairleadError } from '#shared/errors.ts';
import { MAX_FILE_BYTES } from '#shared/image/inspect.ts';
import { spawnConfined, type IdMap, type Spawn } from '../images/confine.ts';
import { reasonOf } from '../process.ts';

/** An instance's root filesystem and what it grew from. All paths are folders of this host. */
export interface Tree {
  /** Mounted: what the guest sees. */
  readonly rootfs: string;
  /** What differs from the image, where storage knows that; whiteouts are character devices. */
  readonly upper?: string;
  /** The image's root filesystem; undefined for an instance that was made from none. */
  readonly image: string | undefined;
  readonly idmap: IdMap;
  /** An empty folder that serves as mount point. */
  readonly scratch: string;
}

/** `type` is a letter of find's %y; `changed` its %C@, which is compared and never read as a time but for {@link isFresh}. */
export interface Entry {
  readonly type: string;
  readonly changed: string;
}

/** Entries by path. A path is relative, its bytes as latin1: names need not be UTF-8. */
export type Listing = ReadonlyMap<string, Entry>;

/** More entries than this are not moved: lists of them are kept in memory. */
const MAX_ENTRIES = 4_000_000;
const LIST_TIMEOUT_MS = 10 * 60_000;

/** Lists everything below a folder, without what is mounted in it. @throws FairleadError `host_failed` */
export async function list(
  spawn: Spawn,
  folder: string,
  { idmap, scratch }: Pick<Tree, 'idmap' | 'scratch'>,
): Promise<Listing> {
  const entries = new Map<string, Entry>();
  const find = await spawnConfined(
    spawn,
    ['find', '/out', '-mindepth', '1', '-xdev', '-ignore_readdir_race', '-printf', '%y %C@ %P\\0'],
    { idmap, scratch, maxFileBytes: MAX_FILE_BYTES, folder: { path: folder, access: 'ro' } },
  );
  find.stdin.end();
  const deadline = setTimeout(() => find.kill(), LIST_TIMEOUT_MS);
  try {
    let rest = '';
    for await (const piece of find.stdout as AsyncIterable<Buffer>) {
      const records = (rest + piece.toString('latin1')).split('\0');
      rest = records.pop() ?? '';
      for (const record of records) {
        const at = record.indexOf(' ', 2);
        entries.set(record.slice(at + 1), { type: record[0] ?? '?', changed: record.slice(2, at) });
      }
      if (entries.size > MAX_ENTRIES) throw tooMany();
    }
    const exit = await find.exited;
    if (exit.code === 0) return entries;
    throw new FairleadError(
      'host_failed',
      `The files could not be listed: ${reasonOf({ ...exit, stderr: find.stderr() })}.`,
    );
  } finally {
    clearTimeout(deadline);
    find.kill();
    await find.exited;
  }
}

/** The paths that a tree has of its own: those of its upper layer that are no whiteouts, or all of them. */
export function ownPaths(merged: Listing, upper: Listing | undefined): string[] {
  const paths = upper === undefined ? [...merged.keys()] : [...upper.keys()].filter((path) => merged.has(path));
  return paths.sort();
}

/**
 * The topmost paths of the image that the tree does not have, or has as something that cannot take their place: a folder for a file or a
 * file for a folder. Opaque folders need no care: what they hide is not in the tree. Pure.
 */
export function deletedPaths(image: Listing, merged: Listing): string[] {
  const gone = new Set<string>();
  for (const [path, { type }] of image) {
    const now = merged.get(path)?.type;
    if (now === undefined || (now === 'd') !== (type === 'd')) gone.add(path);
  }
  return [...gone].filter((path) => !gone.has(parentOf(path))).sort();
}

/** The paths with all folders above them, each once, folders first. Pure. */
export function withParents(paths: readonly string[]): string[] {
  const all = new Set<string>(paths);
  for (const path of paths) {
    for (let parent = parentOf(path); parent !== '' && !all.has(parent); parent = parentOf(parent)) all.add(parent);
  }
  return [...all].sort();
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function tooMany(): FairleadError {
  return new FairleadError(
    'bad_request',
    `The instance has more than ${MAX_ENTRIES} files, which cannot be moved yet.`,
  );
}
