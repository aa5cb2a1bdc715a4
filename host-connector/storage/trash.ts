/**
 * Deleting whole trees so that a crash at any moment leaves either the tree or nothing of it in its place: it is renamed into
 * the trash first and deleted there; what a crash left in the trash is swept at the next start.
 */
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { runOrFail, type Run } from '../process.ts';

const DELETE_TIMEOUT_MS = 10 * 60_000;

export interface Trash {
  /** Makes a file or tree vanish, then deletes it; one that is not there is fine. */
  readonly discard: (path: string) => Promise<void>;
  /** Deletes what is left of earlier runs. Returns how many things that were. */
  readonly sweep: () => Promise<number>;
}

/**
 * The trash in `folder`, which must be on the same filesystem as all that is discarded.
 * @param newId gives a name that was never given before
 */
export function openTrash(folder: string, { run, newId }: { readonly run: Run; readonly newId: () => string }): Trash {
  return {
    async discard(path) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const grave = join(folder, newId());
      if (await moved(path, grave)) await erase(run, grave);
    },
    async sweep() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const left = await readdir(folder);
      for (const name of left) await erase(run, join(folder, name));
      return left.length;
    },
  };
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** `rm` works with directory handles, follows no link, and with this option enters no mount. */
async function erase(run: Run, path: string): Promise<void> {
  await runOrFail(run, ['rm', '-rf', '--one-file-system', '--', path], { timeoutMs: DELETE_TIMEOUT_MS });
}
