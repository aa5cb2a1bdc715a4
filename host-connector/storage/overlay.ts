/** Instances as a thin layer over their image: a launch copies nothing, and `upper` is exactly what changed since. */
import { chmod, chown, lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';
import { reasonOf, runOrFail, type Run } from '../process.ts';
import { assertPlainPath, COPY_TIMEOUT_MS, isMounted, MOUNT_TIMEOUT_MS, type StorageDriver } from './driver.ts';
import type { Trash } from './trash.ts';

/** The overlay driver; see {@link StorageDriver}. All instances must share the id map of their image. */
export function overlayDriver({ run, trash }: { readonly run: Run; readonly trash: Trash }): StorageDriver {
  const unmount: StorageDriver['unmount'] = async (instanceDir) => {
    const rootfs = join(instanceDir, 'rootfs');
    if (!(await isMounted(rootfs))) return;
    const result = await run(['umount', '--', rootfs], { timeoutMs: MOUNT_TIMEOUT_MS });
    if (result.code !== 0)
      throw new FairleadError(
        'busy',
        `The root filesystem is still in use: ${reasonOf(result)}. Stop what uses it, then try again.`,
      );
  };
  return {
    name: 'overlay',
    async create(instanceDir, image, idmap) {
      if (idmap.base !== image.idmap.base) {
        throw new FairleadError(
          'bad_config',
          'An instance with ids of its own cannot share an unpacked image; use the dir storage for it.',
        );
      }
      const like = await lstat(join(image.dir, 'rootfs'));
      await makeFolder(join(instanceDir, 'work'), 0o700);
      await makeFolder(join(instanceDir, 'rootfs'), 0o700);
      const upper = join(instanceDir, 'upper');
      await makeFolder(upper, 0o700);
      // The top of an overlay shows the attributes of its upper folder.
      await chown(upper, like.uid, like.gid);
      await chmod(upper, like.mode & 0o7777);
    },
    async mount(instanceDir, image) {
      const rootfs = join(instanceDir, 'rootfs');
      if (await isMounted(rootfs)) return;
      await mountOverlay(run, {
        lower: join(image.dir, 'rootfs'),
        upper: join(instanceDir, 'upper'),
        work: join(instanceDir, 'work'),
        at: rootfs,
      });
    },
    unmount,
    async remove(instanceDir) {
      await unmount(instanceDir);
      for (const name of ['rootfs', 'upper', 'work']) await trash.discard(join(instanceDir, name));
    },
    usage: (instanceDir) => diskUsage(run, join(instanceDir, 'upper')),
  };
}

/** Mounts an overlay. @throws FairleadError `host_failed` with the kernel's reason */
export async function mountOverlay(
  run: Run,
  layers: { readonly lower: string; readonly upper: string; readonly work: string; readonly at: string },
): Promise<void> {
  const { lower, upper, work, at } = layers;
  // Whatever the kernel was built with: an upper layer holds every byte that differs, which a move relies on.
  const whole = 'redirect_dir=off,metacopy=off';
  const options = `lowerdir=${assertPlainPath(lower)},upperdir=${assertPlainPath(upper)},workdir=${assertPlainPath(work)},${whole}`;
  await runOrFail(run, ['mount', '-t', 'overlay', '-o', options, '--', 'fairlead', assertPlainPath(at)], {
    timeoutMs: MOUNT_TIMEOUT_MS,
  });
}

/** Bytes of disk a tree takes, without what is mounted in it. */
export async function diskUsage(run: Run, path: string): Promise<number> {
  const out = await runOrFail(run, ['du', '--summarize', '--one-file-system', '--block-size=1', '--', path], {
    timeoutMs: COPY_TIMEOUT_MS,
  });
  return Number.parseInt(out, 10);
}

async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new FairleadError('already_exists', `The instance has a root filesystem already (${path}); remove it first.`);
  }
}
