/** What every storage driver does for an instance: its root filesystem, from an image, at `<instanceDir>/rootfs`. */
import { readFile, realpath } from 'node:fs/promises';
import { FairleadError } from '#shared/errors.ts';
import type { IdMap } from '../images/confine.ts';

/** The image an instance is made from: `dir` holds `rootfs/`, whose files belong to the ids of `idmap`. */
export interface ImageSource {
  readonly dir: string;
  readonly idmap: IdMap;
}

/** `instanceDir` exists and belongs to the caller; a driver touches `rootfs`, `upper` and `work` in it and nothing else. */
export interface StorageDriver {
  readonly name: 'overlay' | 'dir';
  /** Makes the root filesystem. The instance must have none. @throws FairleadError `already_exists`, `disk_full` */
  readonly create: (instanceDir: string, image: ImageSource, idmap: IdMap) => Promise<void>;
  /** Makes `rootfs` ready for use; nothing happens when it is. */
  readonly mount: (instanceDir: string, image: ImageSource) => Promise<void>;
  /** Undoes {@link mount}; nothing happens when it is not mounted. @throws FairleadError `busy` while something uses it */
  readonly unmount: (instanceDir: string) => Promise<void>;
  /** Unmounts and deletes; may be repeated after a crash. */
  readonly remove: (instanceDir: string) => Promise<void>;
  /** Bytes on disk that belong to this instance alone. */
  readonly usage: (instanceDir: string) => Promise<number>;
}

/** How long copying or counting a root filesystem may take. */
export const COPY_TIMEOUT_MS = 30 * 60_000;
/** How long a mount call may take. */
export const MOUNT_TIMEOUT_MS = 30_000;

/**
 * Paths go into mount options, where commas and colons separate. Ours have none; this makes sure.
 * @throws FairleadError `bad_config`
 */
export function assertPlainPath(path: string): string {
  if (/^\/[A-Za-z0-9._/-]+$/.test(path) && !path.split('/').includes('..')) return path;
  throw new FairleadError(
    'bad_config',
    `The path ${JSON.stringify(path)} has characters that a mount does not take; choose another state folder for the connector.`,
  );
}

/** Whether something is mounted at exactly this path, which need not exist. */
export async function isMounted(path: string): Promise<boolean> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.split('\n').some((line) => real !== undefined && line.split(' ')[4] === real);
}
