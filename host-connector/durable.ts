import { dirname } from 'node:path';

import { realDisk, type Disk } from './disk.ts';

/** Small files that must be either the old or the new one after a crash, never half of one and never gone. */

/**
 * Replaces a file that is written anew before each use, so that it need not survive a crash: nobody sees half of it, and no fsync is waited for
 * (four milliseconds each on a busy disk).
 */
export async function replaceFile(path: string, text: string, mode = 0o600, disk: Disk = realDisk): Promise<void> {
  const beside = `${path}.new`;
  await disk.makeFolder(dirname(path));
  await disk.remove(beside);
  await disk.create(beside, text, mode);
  await disk.rename(beside, path);
}

/** Replaces a file: temporary file, fsync, rename, fsync of the folder (made when missing, mode 0700, and then synced in its parent). */
export async function writeDurably(path: string, text: string, mode = 0o600, disk: Disk = realDisk): Promise<void> {
  const folder = dirname(path);
  const beside = `${path}.new`;
  if (await disk.makeFolder(folder)) await syncFolder(dirname(folder), disk);
  await disk.remove(beside);
  await disk.create(beside, text, mode);
  await disk.sync(beside);
  await disk.rename(beside, path);
  await syncFolder(folder, disk);
}

/** Removes a file or folder so that it stays removed after a crash; what is not there is no error. */
export async function removeDurably(path: string, disk: Disk = realDisk): Promise<void> {
  await disk.remove(path);
  await syncFolder(dirname(path), disk);
}

/** The text of a file; undefined when there is none. */
export async function readIfThere(path: string, disk: Disk = realDisk): Promise<string | undefined> {
  try {
    return await disk.read(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** True for the error of a path that does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function syncFolder(path: string, disk: Disk): Promise<void> {
  try {
    await disk.sync(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
