/**
 * What an image's archive may contain. Every entry is judged here before an unpacking program sees its header; the unpacking
 * itself is confined as well (host-connector/images/confine.ts), so that neither has to be perfect. Pure: the state is a value
 * of the caller's, one for each archive.
 */
import { FairleadError } from '#shared/errors.ts';
import type { TarEntry } from './tar.ts';

/** `metadata.yaml` and everything a template needs fit well below this. */
export const MAX_METADATA_BYTES = 1024 * 1024;
/** Most bytes an image may unpack to. */
const MAX_EXPANDED_BYTES = 256 * 1024 ** 3;
/** Most bytes of a single file. */
export const MAX_FILE_BYTES = 64 * 1024 ** 3;
export const MAX_ENTRIES = 5_000_000;
/** Symbolic links are remembered, so that nothing is written through one; this bounds the memory for that. */
const MAX_SYMLINKS = 500_000;
/** Bytes of a name. */
export const MAX_PATH_BYTES = 4096;
const MAX_DEPTH = 256;
/** Bytes of all extended attributes of one file. */
const MAX_XATTR_BYTES = 64 * 1024;
/** Ids are mapped into this many; what lies outside would silently become root (R31). */
export const MAX_ID = 65_536;
/** An archive may unpack to this many times its size ... */
const MAX_RATIO = 100;
/** ... once it is larger than this many bytes. */
const RATIO_FREE_BYTES = 10 * 1024 * 1024;

/** A unified tarball holds metadata.yaml, rootfs/ and templates/; a split image is a metadata tarball and a root filesystem. */
export type Layout = 'unified' | 'metadata' | 'rootfs';

/** `keep`: unpack it. `skip`: leave it out (device nodes in /dev, which the host makes itself). */
export type Verdict = 'keep' | 'skip';

/** What was seen so far of one archive. */
export interface Inspection {
  readonly layout: Layout;
  entries: number;
  expandedBytes: number;
  /** Top-level names, and whether each had an entry of its own yet. */
  readonly top: Map<string, 'implied' | 'listed'>;
  readonly symlinks: Set<string>;
  readonly skipped: Set<string>;
}

/** Begins the inspection of one archive. */
export function startInspection(layout: Layout): Inspection {
  return { layout, entries: 0, expandedBytes: 0, top: new Map(), symlinks: new Set(), skipped: new Set() };
}

/** Judges the next entry. @throws FairleadError `bad_image`, naming the entry and the rule it breaks */
export function inspect(state: Inspection, entry: TarEntry): Verdict {
  count(state, entry);
  checkAttributes(entry);
  const path = components(entry.name, 'a name');
  if (path.length === 0) return rootEntry(state, entry);
  if (state.layout !== 'rootfs') checkTop(state, entry, path);
  const inRootfs = state.layout === 'rootfs' ? path : path.slice(1);
  const verdict =
    state.layout === 'rootfs' || path[0] === 'rootfs' ? checkRootfs(state, entry, path, inRootfs) : 'keep';
  if (verdict === 'skip') state.skipped.add(path.join('/'));
  return verdict;
}

/** Says that the archive ended. @throws FairleadError `bad_image` when a part every image needs was missing */
export function finishInspection(state: Inspection): void {
  const needed = { unified: ['metadata.yaml', 'rootfs'], metadata: ['metadata.yaml'], rootfs: [] }[state.layout];
  for (const name of needed) {
    if (!state.top.has(name))
      throw new FairleadError('bad_image', `The image has no ${name}; an image needs one to be used.`);
  }
}

/** Compares what came out of a compressed archive with what went in so far. @throws FairleadError `bad_image` for a bomb */
export function checkRatio(compressedBytes: number, expandedBytes: number): void {
  if (expandedBytes <= RATIO_FREE_BYTES || expandedBytes <= compressedBytes * MAX_RATIO) return;
  throw new FairleadError(
    'bad_image',
    `The image unpacks to more than ${MAX_RATIO} times its size, as decompression bombs do; it was not unpacked further.`,
  );
}

function count(state: Inspection, entry: TarEntry): void {
  state.entries += 1;
  state.expandedBytes += entry.expandedSize;
  if (state.entries > MAX_ENTRIES)
    throw new FairleadError('bad_image', `The image has more than ${MAX_ENTRIES} files.`);
  if (entry.expandedSize > MAX_FILE_BYTES) throw refuse(entry, 'it is larger than 64 GiB');
  if (state.expandedBytes > MAX_EXPANDED_BYTES) throw refuse(entry, 'with it the image is larger than 256 GiB');
}

function checkAttributes(entry: TarEntry): void {
  if (entry.uid >= MAX_ID) throw refuse(entry, `its user id ${entry.uid} is outside of 0 to ${MAX_ID - 1}`);
  if (entry.gid >= MAX_ID) throw refuse(entry, `its group id ${entry.gid} is outside of 0 to ${MAX_ID - 1}`);
  if (entry.xattrBytes > MAX_XATTR_BYTES) throw refuse(entry, 'its extended attributes are larger than 64 KiB');
}

/** The parts of a path below the archive's root; `./` and doubled slashes do not count. */
function components(name: string, what: string): string[] {
  const shown = { name };
  if (name === '') throw refuse(shown, `${what} is empty`);
  if (name.includes('\0')) throw refuse(shown, `${what} contains NUL`);
  if (name.startsWith('/')) throw refuse(shown, `${what} begins with a slash`);
  if (name.length > MAX_PATH_BYTES) throw refuse(shown, `${what} is longer than ${MAX_PATH_BYTES} bytes`);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse(shown, `${what} contains ".."`);
  if (parts.length > MAX_DEPTH) throw refuse(shown, `${what} is deeper than ${MAX_DEPTH} folders`);
  return parts;
}

/** The entry of the archive's root itself: it is the root filesystem's in a split image, elsewhere our own folder. */
function rootEntry(state: Inspection, entry: TarEntry): Verdict {
  if (entry.kind !== 'directory') throw refuse(entry, 'the top of an image must be a directory');
  return state.layout === 'rootfs' ? 'keep' : 'skip';
}

const TOP_KINDS: Readonly<Record<string, 'file' | 'directory'>> = {
  'metadata.yaml': 'file',
  rootfs: 'directory',
  templates: 'directory',
};

function checkTop(state: Inspection, entry: TarEntry, path: readonly string[]): void {
  const [top = '', ...below] = path;
  const kind = Object.hasOwn(TOP_KINDS, top) ? TOP_KINDS[top] : undefined;
  const misplaced = kind === undefined || (state.layout === 'metadata' && top === 'rootfs');
  if (misplaced) throw refuse(entry, 'an image has only metadata.yaml, rootfs and templates at its top');
  if (below.length > 0) {
    if (kind === 'file') throw refuse(entry, `${top} must be a file`);
    if (top === 'templates') checkTemplate(entry, below);
    if (!state.top.has(top)) state.top.set(top, 'implied');
    return;
  }
  if (entry.kind !== kind)
    throw refuse(entry, `${top} must be a ${kind === 'file' ? 'regular file' : 'directory'}, not a ${entry.kind}`);
  if (state.top.get(top) === 'listed') throw refuse(entry, `${top} is in the image twice`);
  if (kind === 'file' && entry.size > MAX_METADATA_BYTES) throw refuse(entry, 'it is larger than 1 MiB');
  state.top.set(top, 'listed');
}

function checkTemplate(entry: TarEntry, below: readonly string[]): void {
  const plain = entry.kind === 'file' && below.length === 1;
  if (!plain) throw refuse(entry, 'templates may hold regular files only');
  if (entry.size > MAX_METADATA_BYTES) throw refuse(entry, 'a template is at most 1 MiB');
}

function checkRootfs(state: Inspection, entry: TarEntry, path: readonly string[], inside: readonly string[]): Verdict {
  checkNoSymlinkAbove(state, entry, path);
  if (entry.kind === 'char' || entry.kind === 'block') {
    if (inside[0] === 'dev' && inside.length > 1) return 'skip';
    throw refuse(entry, 'a device node may stand in /dev only');
  }
  if (entry.kind === 'hardlink') return checkHardlink(state, entry);
  if (entry.kind === 'symlink') {
    if (state.symlinks.size >= MAX_SYMLINKS)
      throw refuse(entry, `the image has more than ${MAX_SYMLINKS} symbolic links`);
    state.symlinks.add(path.join('/'));
  }
  return 'keep';
}

function checkHardlink(state: Inspection, entry: TarEntry): Verdict {
  const target = components(entry.linkname, 'the target of a hard link');
  const outside = state.layout !== 'rootfs' && target[0] !== 'rootfs';
  if (outside || target.length === 0) throw refuse(entry, 'a hard link leaves the root filesystem');
  checkNoSymlinkAbove(state, entry, target);
  return state.skipped.has(target.join('/')) ? 'skip' : 'keep';
}

/** Archives of real trees never name a file below a link; one that does wants to write somewhere else. */
function checkNoSymlinkAbove(state: Inspection, entry: TarEntry, path: readonly string[]): void {
  let above = '';
  for (const part of path.slice(0, -1)) {
    above = above === '' ? part : `${above}/${part}`;
    if (state.symlinks.has(above)) throw refuse(entry, `its path goes through the symbolic link ${show(above)}`);
  }
}

function refuse(entry: { readonly name: string }, why: string): FairleadError {
  return new FairleadError(
    'bad_image',
    `The image was refused because of ${show(entry.name)}: ${why}. Nothing of it is kept.`,
  );
}

/** A name as it may stand in a message: no control characters, not too long. */
function show(name: string): string {
  const shown = name.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
  return JSON.stringify(shown.length > 120 ? `${shown.slice(0, 120)}…` : shown);
}
