/** Unpacks an image's verified files into a folder: metadata.yaml, templates/ and rootfs/, with ids already those of the container. */
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';
import {
  checkRatio,
  finishInspection,
  inspect,
  MAX_FILE_BYTES,
  MAX_ID,
  startInspection,
  type Inspection,
  type Layout,
} from '#shared/image/inspect.ts';
import type { ImageMetadata } from '#shared/image/metadata.ts';
import { TarReader } from '#shared/image/tar.ts';
import { reasonOf, runOrFail, type Argv, type PipedChild, type Run } from '../process.ts';
import { checkTree } from './check-tree.ts';
import { spawnConfined, type Confinement, type IdMap, type Spawn } from './confine.ts';
import { decompress } from './decompress.ts';
import { diskFull, noRoom, saysDiskFull } from './disk-full.ts';

/** An image takes minutes on a slow disk; after this it is given up. */
const UNPACK_TIMEOUT_MS = 30 * 60_000;
const WIPE_TIMEOUT_MS = 10 * 60_000;

export interface UnpackRequest {
  /** Unified tarball, or metadata tarball and tarball of the root filesystem. Their hash is already verified. */
  readonly files: readonly [unified: string] | readonly [metadata: string, rootfs: string];
  /** Folder to make; it must not exist yet. */
  readonly target: string;
  /** An empty folder that serves as mount point. */
  readonly scratch: string;
  readonly idmap: IdMap;
  readonly timeoutMs?: number;
}

export interface Unpacked {
  readonly metadata: ImageMetadata;
  readonly entries: number;
  readonly expandedBytes: number;
}

export interface UnpackDeps {
  readonly spawn: Spawn;
  readonly run: Run;
}

const TAR: Argv = [
  'tar',
  '--extract',
  '--file=-',
  '--directory=/out',
  '--numeric-owner',
  '--same-owner',
  '--same-permissions',
  '--delay-directory-restore',
  '--acls',
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
  '--warning=no-timestamp',
  '--warning=no-unknown-keyword',
];

/**
 * Unpacks an image. Every entry passes shared/image/inspect.ts before tar sees it; tar runs confined; the result is looked at
 * once more. After a failure nothing of the target is left.
 * @throws FairleadError `bad_image`, `disk_full`, `timed_out`, `host_failed`
 */
export async function unpackImage(deps: UnpackDeps, request: UnpackRequest): Promise<Unpacked> {
  if (request.idmap.size < MAX_ID)
    throw new FairleadError(
      'bad_config',
      `An image needs a map of ${MAX_ID} ids, the host gives only ${request.idmap.size}; widen it.`,
    );
  const deadline = AbortSignal.timeout(request.timeoutMs ?? UNPACK_TIMEOUT_MS);
  try {
    const inspections = await unpackFiles(deps, request, deadline);
    const metadata = await checkTree(request.target);
    const sum = (field: 'entries' | 'expandedBytes') =>
      inspections.reduce((total, inspection) => total + inspection[field], 0);
    return { metadata, entries: sum('entries'), expandedBytes: sum('expandedBytes') };
  } catch (error) {
    await runOrFail(deps.run, ['rm', '-rf', '--one-file-system', '--', request.target], { timeoutMs: WIPE_TIMEOUT_MS });
    throw diskFull(error) ?? error;
  }
}

async function unpackFiles(deps: UnpackDeps, request: UnpackRequest, deadline: AbortSignal): Promise<Inspection[]> {
  const { files, target, idmap } = request;
  await ownedFolder(target, 0o700, idmap);
  if (files.length === 1) return [await extract(deps, request, files[0], 'unified', target, deadline)];
  const metadata = await extract(deps, request, files[0], 'metadata', target, deadline);
  const rootfs = join(target, 'rootfs');
  await ownedFolder(rootfs, 0o755, idmap);
  return [metadata, await extract(deps, request, files[1], 'rootfs', rootfs, deadline)];
}

/** The root of the container must own what it unpacks into. */
async function ownedFolder(path: string, mode: number, { base }: IdMap): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  await chown(path, base, base);
  await chmod(path, mode);
}

async function extract(
  deps: UnpackDeps,
  { idmap, scratch }: UnpackRequest,
  file: string,
  layout: Layout,
  into: string,
  deadline: AbortSignal,
): Promise<Inspection> {
  const confinement: Confinement = { idmap, scratch, maxFileBytes: MAX_FILE_BYTES };
  const source = await decompress(file, (argv) => spawnConfined(deps.spawn, argv, confinement));
  const tar = await spawnConfined(deps.spawn, TAR, { ...confinement, folder: { path: into, access: 'rw' } });
  tar.stdout.resume();
  const onDeadline = () => {
    source.stop();
    tar.kill();
  };
  deadline.addEventListener('abort', onDeadline);
  try {
    const inspection = startInspection(layout);
    await feed(tar, inspected(source.bytes, inspection, source.compressedBytes));
    tar.stdin.end();
    await succeeded(tar);
    return inspection;
  } catch (error) {
    if (deadline.aborted)
      throw new FairleadError(
        'timed_out',
        'Unpacking the image took too long and was stopped; see whether the disk of the host is overloaded.',
        { cause: error },
      );
    throw error;
  } finally {
    deadline.removeEventListener('abort', onDeadline);
    tar.kill();
    await tar.exited;
  }
}

/** The archive without the entries that are left out. An entry's headers come only after it was judged. */
async function* inspected(
  source: AsyncIterable<Uint8Array>,
  inspection: Inspection,
  compressedBytes: () => number,
): AsyncGenerator<readonly Uint8Array[]> {
  const reader = new TarReader();
  let expanded = 0;
  let keep = true;
  for await (const piece of source) {
    expanded += piece.length;
    checkRatio(compressedBytes(), expanded);
    const kept: Uint8Array[] = [];
    for (const event of reader.push(piece)) {
      if (event.type === 'entry') keep = inspect(inspection, event.entry) === 'keep';
      if (keep || event.type === 'end') kept.push(event.raw);
    }
    yield kept;
  }
  reader.finish();
  finishInspection(inspection);
}

/** Writes into tar as fast as it reads; stops when it ended before its time. */
async function feed(tar: PipedChild, pieces: AsyncIterable<readonly Uint8Array[]>): Promise<void> {
  let ended = false;
  const exited = tar.exited.then(() => {
    ended = true;
  });
  for await (const piece of pieces) {
    if (ended) return;
    const full = writeAll(tar, piece);
    if (full) await Promise.race([new Promise((resolve) => tar.stdin.once('drain', resolve)), exited]);
  }
}

/** One system call for many small writes. Returns whether to wait before writing more. */
function writeAll(tar: PipedChild, pieces: readonly Uint8Array[]): boolean {
  tar.stdin.cork();
  for (const piece of pieces) tar.stdin.write(piece);
  tar.stdin.uncork();
  return tar.stdin.writableNeedDrain;
}

async function succeeded(tar: PipedChild): Promise<void> {
  const exit = await tar.exited;
  if (exit.code === 0) return;
  const why = reasonOf({ ...exit, stderr: tar.stderr() });
  if (saysDiskFull(tar.stderr())) throw noRoom();
  throw new FairleadError('bad_image', `The image could not be unpacked: ${why}. Nothing of it was kept.`);
}
