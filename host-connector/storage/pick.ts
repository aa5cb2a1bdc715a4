/** Which storage a host can use: found out by trying it, not by knowing filesystems by name. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFairleadError } from '#shared/errors.ts';
import type { Spawn } from '../images/confine.ts';
import { runOrFail, type Run } from '../process.ts';
import { dirDriver } from './dir.ts';
import { MOUNT_TIMEOUT_MS, type StorageDriver } from './driver.ts';
import { mountOverlay, overlayDriver } from './overlay.ts';
import type { Trash } from './trash.ts';

export interface StorageDeps {
  readonly stateDir: string;
  readonly run: Run;
  readonly spawn: Spawn;
  readonly trash: Trash;
  /** A name that was never given before. */
  readonly newId: () => string;
}

/** The storage of a host: `shared` for instances with the images' id map, `isolated` for those with ids of their own. */
export interface Storage {
  readonly shared: StorageDriver;
  readonly isolated: StorageDriver;
  /** Why `shared` is not the overlay driver; for doctor and logs. */
  readonly noOverlay: string | undefined;
}

/** Tries an overlay in the state folder and picks the drivers. */
export async function pickStorage(deps: StorageDeps): Promise<Storage> {
  const isolated = dirDriver(deps);
  const noOverlay = await whyNoOverlay(deps);
  return { shared: noOverlay === undefined ? overlayDriver(deps) : isolated, isolated, noOverlay };
}

/** The reason why the state folder cannot hold the upper layer of an overlay, or undefined when it can. */
async function whyNoOverlay({ stateDir, run, trash, newId }: StorageDeps): Promise<string | undefined> {
  const probe = join(stateDir, `probe-${newId()}`);
  const layer = (name: string) => join(probe, name);
  try {
    for (const name of ['', 'lower', 'upper', 'work', 'merged'])
      await mkdir(layer(name), { recursive: true, mode: 0o700 });
    await writeFile(layer('lower/below'), 'image');
    await mountOverlay(run, { lower: layer('lower'), upper: layer('upper'), work: layer('work'), at: layer('merged') });
    try {
      await writeFile(layer('merged/below'), 'changed');
      return (await readFile(layer('upper/below'), 'utf8')) === 'changed'
        ? undefined
        : 'changes did not reach the upper layer';
    } finally {
      await runOrFail(run, ['umount', '--', layer('merged')], { timeoutMs: MOUNT_TIMEOUT_MS });
    }
  } catch (error) {
    if (isFairleadError(error, 'host_failed') || isFairleadError(error, 'bad_config')) return error.message;
    throw error;
  } finally {
    await trash.discard(probe);
  }
}
