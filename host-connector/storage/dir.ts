/** Instances as plain copies of their image: works on every filesystem, and the only way to give an instance ids of its own. */
import { chmod, chown, lstat, mkdir, rename } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { FairleadError } from '#shared/errors.ts';
import { MAX_FILE_BYTES } from '#shared/image/inspect.ts';
import { spawnConfined, type IdMap, type Spawn } from '../images/confine.ts';
import { noRoom, saysDiskFull } from '../images/disk-full.ts';
import { reasonOf, type Argv, type PipedChild, type Run } from '../process.ts';
import { COPY_TIMEOUT_MS, type ImageSource, type StorageDriver } from './driver.ts';
import { diskUsage } from './overlay.ts';
import type { Trash } from './trash.ts';

/** The dir driver; see {@link StorageDriver}. */
export function dirDriver(deps: { readonly run: Run; readonly spawn: Spawn; readonly trash: Trash }): StorageDriver {
  const { run, trash } = deps;
  return {
    name: 'dir',
    async create(instanceDir, image, idmap) {
      const rootfs = join(instanceDir, 'rootfs');
      if (existsSync(rootfs))
        throw new FairleadError(
          'already_exists',
          `The instance has a root filesystem already (${rootfs}); remove it first.`,
        );
      // Copied beside and renamed: a crash leaves no half root filesystem under the right name.
      const copy = join(instanceDir, 'rootfs.part');
      await trash.discard(copy);
      try {
        if (idmap.base === image.idmap.base) await copyTree(run, join(image.dir, 'rootfs'), copy);
        else await copyShifted(deps.spawn, image, copy, idmap, instanceDir, trash);
        await rename(copy, rootfs);
      } catch (error) {
        await trash.discard(copy);
        throw error;
      }
    },
    mount: async () => {},
    unmount: async () => {},
    async remove(instanceDir) {
      for (const name of ['rootfs', 'rootfs.part', 'scratch']) await trash.discard(join(instanceDir, name));
    },
    usage: (instanceDir) => diskUsage(run, join(instanceDir, 'rootfs')),
  };
}

async function copyTree(run: Run, from: string, to: string): Promise<void> {
  const result = await run(['cp', '--archive', '--reflink=auto', '--no-target-directory', '--', from, to], {
    timeoutMs: COPY_TIMEOUT_MS,
  });
  if (result.code !== 0) throw copyFailed(reasonOf(result));
}

const XATTRS = [
  '--numeric-owner',
  '--acls',
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
];
const PACK: Argv = ['tar', '--create', '--file=-', '--directory=/out', '--format=pax', '--sparse', ...XATTRS, '.'];
const UNPACK: Argv = [
  'tar',
  '--extract',
  '--file=-',
  '--directory=/out',
  '--same-owner',
  '--same-permissions',
  '--delay-directory-restore',
  ...XATTRS,
];

/**
 * Copies from one id map into another: read inside the image's map, written inside the instance's. The kernel translates
 * owners, access lists and file capabilities, and no path of the tree is ever looked up by the host's root.
 */
async function copyShifted(
  spawn: Spawn,
  image: ImageSource,
  to: string,
  idmap: IdMap,
  instanceDir: string,
  trash: Trash,
): Promise<void> {
  const from = join(image.dir, 'rootfs');
  const like = await lstat(from);
  await mkdir(to, { mode: 0o700 });
  await chown(to, like.uid - image.idmap.base + idmap.base, like.gid - image.idmap.base + idmap.base);
  await chmod(to, like.mode & 0o7777);
  const scratch = join(instanceDir, 'scratch');
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const common = { scratch, maxFileBytes: MAX_FILE_BYTES };
  const reader = await spawnConfined(spawn, PACK, {
    ...common,
    idmap: image.idmap,
    folder: { path: from, access: 'ro' },
  });
  const writer = await spawnConfined(spawn, UNPACK, { ...common, idmap, folder: { path: to, access: 'rw' } });
  writer.stdout.resume();
  reader.stdin.end();
  const deadline = setTimeout(() => stop(reader, writer), COPY_TIMEOUT_MS);
  try {
    // A writer that failed shows in its exit; the broken pipe says nothing more.
    await pipeline(reader.stdout, writer.stdin).catch(() => stop(reader));
    await finished(writer);
    await finished(reader);
  } finally {
    clearTimeout(deadline);
    stop(reader, writer);
    await Promise.all([reader.exited, writer.exited]);
    await trash.discard(scratch);
  }
}

function stop(...children: PipedChild[]): void {
  for (const child of children) child.kill();
}

async function finished(child: PipedChild): Promise<void> {
  const exit = await child.exited;
  if (exit.code !== 0) throw copyFailed(reasonOf({ ...exit, stderr: child.stderr() }));
}

function copyFailed(why: string): FairleadError {
  if (saysDiskFull(why)) return noRoom();
  return new FairleadError(
    'host_failed',
    `The image could not be copied for the instance: ${why}. Nothing of it was kept.`,
  );
}
