/**
 * The images of a host, unpacked once and shared read-only by its instances: `images/<fingerprint>/` with image.json,
 * metadata.yaml, templates/ and rootfs/. An image appears there by one rename when it is complete, verified and on disk.
 */
import { chmod, mkdir, open, readdir, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { FairleadError } from '#shared/errors.ts';
import type { ImageMetadata } from '#shared/image/metadata.ts';
import { runOrFail } from '../process.ts';
import type { Trash } from '../storage/trash.ts';
import type { IdMap } from './confine.ts';
import { downloadImage, type DownloadDeps, type Locate, type OnProgress } from './download.ts';
import { diskFull } from './disk-full.ts';
import { unpackImage, type UnpackDeps } from './unpack.ts';

/** Days without use after which an image is removed from a host. */
const UNUSED_DAYS = 10;
const DAY_MS = 24 * 60 * 60_000;
const SYNC_TIMEOUT_MS = 5 * 60_000;

/** An image that is ready for use. */
export interface CachedImage {
  readonly fingerprint: string;
  /** Folder with metadata.yaml, templates/ and rootfs/. */
  readonly dir: string;
  /** The host's ids its files belong to. */
  readonly idmap: IdMap;
  readonly metadata: ImageMetadata;
  /** Bytes of its files after unpacking. */
  readonly expandedBytes: number;
}

export interface ImageCache {
  /** Empties what a crash left half-made. Call once, before anything else. */
  readonly open: () => Promise<void>;
  /** The image, downloaded and unpacked if it is not here yet; asked for twice at a time it is made once. @throws FairleadError */
  readonly ensure: (fingerprint: string, locate: Locate, onProgress?: OnProgress) => Promise<CachedImage>;
  /** The image if it is here. */
  readonly get: (fingerprint: string) => Promise<CachedImage | undefined>;
  /** Fingerprints of all images here. */
  readonly list: () => Promise<string[]>;
  /** Removes images that were not used for `unusedDays`, but none of `inUse`. Returns the removed ones. */
  readonly expire: (inUse: ReadonlySet<string>, unusedDays?: number) => Promise<string[]>;
  /** Removes an image at once. The caller knows that no instance uses it. */
  readonly remove: (fingerprint: string) => Promise<void>;
}

export interface ImageCacheDeps extends DownloadDeps, UnpackDeps {
  readonly stateDir: string;
  /** The map of all containers that share images. */
  readonly idmap: IdMap;
  readonly trash: Trash;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** A name that was never given before. */
  readonly newId: () => string;
}

const record = z.object({
  fingerprint: z.string(),
  idmap: z.object({ base: z.number(), size: z.number() }),
  metadata: z.custom<ImageMetadata>((value) => typeof value === 'object' && value !== null),
  expandedBytes: z.number(),
});

interface Flight {
  readonly image: Promise<CachedImage>;
  readonly listeners: Set<OnProgress>;
}

/** Opens the cache in `<stateDir>/images`. */
export function openImageCache(deps: ImageCacheDeps): ImageCache {
  const folder = join(deps.stateDir, 'images');
  const staging = join(folder, '.staging');
  const flights = new Map<string, Flight>();
  const dirOf = (fingerprint: string) => join(folder, checked(fingerprint));

  async function get(fingerprint: string): Promise<CachedImage | undefined> {
    const dir = dirOf(fingerprint);
    const text = await readFile(join(dir, 'image.json'), 'utf8').catch(ifAbsent);
    if (text === undefined) return undefined;
    const used = deps.now() / 1000;
    await utimes(join(dir, 'image.json'), used, used);
    return { ...record.parse(JSON.parse(text)), dir };
  }

  async function make(fingerprint: string, locate: Locate, listeners: Set<OnProgress>): Promise<CachedImage> {
    const present = await get(fingerprint);
    if (present !== undefined) return present;
    const room = join(staging, deps.newId());
    try {
      await mkdir(room, { recursive: true, mode: 0o700 });
      const built = await build(deps, fingerprint, locate, room, (...progress) => {
        for (const listener of listeners) listener(...progress);
      });
      await rename(built, dirOf(fingerprint));
      await syncFolder(folder);
    } catch (error) {
      throw diskFull(error) ?? error;
    } finally {
      await deps.trash.discard(room);
    }
    const made = await get(fingerprint);
    if (made === undefined)
      throw new FairleadError(
        'host_failed',
        'The image vanished right after it was unpacked; look who else writes into the state folder.',
      );
    return made;
  }

  async function list(): Promise<string[]> {
    const names = await readdir(folder).catch(ifAbsent);
    return (names ?? []).filter((name) => FINGERPRINT.test(name)).sort();
  }

  return {
    async open() {
      await deps.trash.discard(staging);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
    },
    async ensure(fingerprint, locate, onProgress) {
      checked(fingerprint);
      const flight = flights.get(fingerprint) ?? takeOff(fingerprint, locate);
      if (onProgress !== undefined) flight.listeners.add(onProgress);
      return flight.image;
    },
    get,
    list,
    async expire(inUse, unusedDays = UNUSED_DAYS) {
      const removed: string[] = [];
      for (const fingerprint of await list()) {
        if (inUse.has(fingerprint) || flights.has(fingerprint)) continue;
        const unusedMs = deps.now() - (await lastUsed(dirOf(fingerprint)));
        if (unusedMs < unusedDays * DAY_MS) continue;
        await deps.trash.discard(dirOf(fingerprint));
        removed.push(fingerprint);
      }
      return removed;
    },
    remove: (fingerprint) => deps.trash.discard(dirOf(fingerprint)),
  };

  function takeOff(fingerprint: string, locate: Locate): Flight {
    const listeners = new Set<OnProgress>();
    const image = make(fingerprint, locate, listeners).finally(() => flights.delete(fingerprint));
    const flight = { image, listeners };
    flights.set(fingerprint, flight);
    return flight;
  }
}

/** Downloads, verifies and unpacks into `room`; returns the finished folder, which is on disk. */
async function build(
  deps: ImageCacheDeps,
  fingerprint: string,
  locate: Locate,
  room: string,
  onProgress: OnProgress,
): Promise<string> {
  const files = await downloadImage(deps, fingerprint, locate, room, onProgress);
  const [first = '', second] = files;
  const scratch = join(room, 'scratch');
  await mkdir(scratch, { mode: 0o700 });
  const target = join(room, 'image');
  const { metadata, expandedBytes } = await unpackImage(deps, {
    files: second === undefined ? [first] : [first, second],
    target,
    scratch,
    idmap: deps.idmap,
  });
  const content = { fingerprint, idmap: deps.idmap, metadata, expandedBytes };
  await writeFile(join(target, 'image.json'), `${JSON.stringify(content, undefined, 2)}\n`, {
    flag: 'wx',
    mode: 0o600,
  });
  await runOrFail(deps.run, ['sync', '--file-system', target], { timeoutMs: SYNC_TIMEOUT_MS });
  return target;
}

const FINGERPRINT = /^[0-9a-f]{64}$/;

/** A fingerprint becomes part of a path: nothing else may. */
function checked(fingerprint: string): string {
  if (FINGERPRINT.test(fingerprint)) return fingerprint;
  throw new FairleadError('bad_name', 'An image is named by its fingerprint, 64 hexadecimal digits.');
}

async function lastUsed(dir: string): Promise<number> {
  await using file = await open(join(dir, 'image.json'), 'r');
  return (await file.stat()).mtimeMs;
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

function ifAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
