/**
 * A streaming tar reader for ustar, GNU (long names, sparse) and pax. Bytes go in, in pieces of any size; events come out,
 * and the `raw` bytes of all events together are the archive again: so a caller can decide on an entry before it passes
 * its header on. Stricter than GNU tar where the two could understand an archive differently.
 */
import { parsePax, refuseGlobalOverrides, type PaxRecords } from './pax.ts';
import { BLOCK, badTar, decodeName, parseHeader, sparseBlockContinues, type RawHeader } from './tar-header.ts';

/** Bound of all headers that belong to one entry, in bytes: the reader never holds more. */
const MAX_HEADER_BYTES = 1024 * 1024;

type EntryKind = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

/** One file of an archive, after all its headers were combined. */
export interface TarEntry {
  /** As in the archive, not cleaned. */
  readonly name: string;
  readonly kind: EntryKind;
  /** Target of a hard or symbolic link, else empty. */
  readonly linkname: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data in the archive. */
  readonly size: number;
  /** Bytes after unpacking: more than `size` for sparse files. */
  readonly expandedSize: number;
  readonly xattrBytes: number;
}

export type TarEvent =
  | { readonly type: 'entry'; readonly entry: TarEntry; readonly raw: Uint8Array }
  | { readonly type: 'data'; readonly raw: Uint8Array }
  | { readonly type: 'padding'; readonly raw: Uint8Array }
  /** The end mark, and any zeros behind it. */
  | { readonly type: 'end'; readonly raw: Uint8Array };

const KINDS: Readonly<Record<string, EntryKind>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

type Extension = 'pax' | 'global' | 'longname' | 'longlink';
const EXTENSIONS: Readonly<Record<string, Extension>> = { x: 'pax', g: 'global', L: 'longname', K: 'longlink' };

type Stage =
  | { readonly at: 'header' }
  | { readonly at: 'extension'; readonly kind: Extension; readonly size: number }
  | { readonly at: 'sparse-map'; readonly header: RawHeader }
  | { readonly at: 'data'; readonly left: number; readonly padding: number }
  | { readonly at: 'padding'; readonly left: number }
  | { readonly at: 'end-mark' }
  | { readonly at: 'ended' };

interface Extensions {
  pax?: PaxRecords;
  longname?: string;
  longlink?: string;
}

/** Reads one archive. Feed it with {@link push}, then call {@link finish}. */
export class TarReader {
  #stage: Stage = { at: 'header' };
  #extensions: Extensions = {};
  /** Headers of the entry being read, kept until it is known. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #pending: Uint8Array = new Uint8Array(0);

  /** Takes the next bytes and yields what they complete. Iterate to the end. @throws FairleadError `bad_image` */
  *push(chunk: Uint8Array): Generator<TarEvent, void, void> {
    let rest = this.#pending.length === 0 ? chunk : concat([this.#pending, chunk]);
    this.#pending = new Uint8Array(0);
    while (rest.length > 0) {
      const want = this.#wanted();
      if (rest.length < want) {
        this.#pending = rest.slice();
        return;
      }
      const [event, used] = this.#step(rest);
      rest = rest.subarray(used);
      if (event !== undefined) yield event;
    }
  }

  /** Says that no more bytes come. @throws FairleadError `bad_image` when the archive is not complete */
  finish(): void {
    const ended = this.#stage.at === 'ended' || this.#stage.at === 'end-mark';
    if (!ended || this.#pending.length > 0)
      throw badTar('it ends in the middle, so it was probably cut off on its way');
  }

  /** How many bytes the next step needs at least. */
  #wanted(): number {
    const { at } = this.#stage;
    if (at === 'extension') return padded(this.#stage.size);
    return at === 'data' || at === 'padding' || at === 'ended' ? 1 : BLOCK;
  }

  #step(bytes: Uint8Array): [TarEvent | undefined, used: number] {
    const stage = this.#stage;
    if (stage.at === 'header') return [this.#onHeader(bytes.subarray(0, BLOCK)), BLOCK];
    if (stage.at === 'extension') return [this.#onExtension(stage.kind, stage.size, bytes), padded(stage.size)];
    if (stage.at === 'sparse-map') {
      this.#hold(bytes.subarray(0, BLOCK));
      return [sparseBlockContinues(bytes) ? undefined : this.#emit(stage.header), BLOCK];
    }
    if (stage.at === 'data') {
      const raw = bytes.subarray(0, stage.left);
      this.#stage = afterData(stage.left - raw.length, stage.padding);
      return [{ type: 'data', raw }, raw.length];
    }
    if (stage.at === 'padding') {
      const raw = bytes.subarray(0, stage.left);
      this.#stage = afterData(0, stage.left - raw.length);
      return [{ type: 'padding', raw }, raw.length];
    }
    const raw = zeros(stage.at === 'end-mark' ? bytes.subarray(0, BLOCK) : bytes);
    this.#stage = { at: 'ended' };
    return [{ type: 'end', raw }, raw.length];
  }

  #onHeader(block: Uint8Array): TarEvent | undefined {
    const header = parseHeader(block);
    if (header === undefined) {
      if (this.#heldBytes > 0) throw badTar('an extended header stands before the end');
      this.#stage = { at: 'end-mark' };
      return { type: 'end', raw: block };
    }
    this.#hold(block);
    const extension = EXTENSIONS[header.typeflag];
    if (extension !== undefined) {
      if (header.size > MAX_HEADER_BYTES) throw badTar('an extended header is larger than 1 MiB');
      this.#stage = header.size === 0 ? { at: 'header' } : { at: 'extension', kind: extension, size: header.size };
      return undefined;
    }
    if (header.sparse?.extended === true) {
      this.#stage = { at: 'sparse-map', header };
      return undefined;
    }
    return this.#emit(header);
  }

  #onExtension(kind: Extension, size: number, blocks: Uint8Array): undefined {
    const bytes = blocks.subarray(0, size);
    if (kind !== 'global' && this.#extensions[kind] !== undefined)
      throw badTar('an entry has the same extended header twice');
    if (kind === 'global') refuseGlobalOverrides(bytes);
    else if (kind === 'pax') this.#extensions.pax = parsePax(bytes);
    else this.#extensions[kind] = longText(bytes);
    this.#hold(blocks.subarray(0, padded(size)));
    this.#stage = { at: 'header' };
  }

  #hold(bytes: Uint8Array): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > MAX_HEADER_BYTES + BLOCK * 8) throw badTar('the headers of one entry are larger than 1 MiB');
    this.#held.push(bytes.slice());
  }

  #emit(header: RawHeader): TarEvent {
    const entry = combine(header, this.#extensions);
    const raw = concat(this.#held);
    this.#extensions = {};
    this.#held = [];
    this.#heldBytes = 0;
    this.#stage = afterData(entry.size, padded(entry.size) - entry.size);
    return { type: 'entry', entry, raw };
  }
}

/** One entry out of its header and the extension headers before it. */
function combine(header: RawHeader, { pax, longname, longlink }: Extensions): TarEntry {
  const name = pax?.sparseName ?? pax?.path ?? longname ?? header.name;
  let kind = KINDS[header.typeflag];
  if (kind === undefined) throw badTar(`it has an entry of the unknown type ${JSON.stringify(header.typeflag)}`);
  if (kind === 'file' && name.endsWith('/')) kind = 'directory';
  const size = pax?.size ?? header.size;
  if (kind !== 'file' && size > 0) throw badTar('an entry that cannot have data has some');
  const isLink = kind === 'hardlink' || kind === 'symlink';
  return {
    name,
    kind,
    linkname: isLink ? (pax?.linkpath ?? longlink ?? header.linkname) : '',
    mode: header.mode,
    uid: pax?.uid ?? header.uid,
    gid: pax?.gid ?? header.gid,
    size,
    expandedSize: Math.max(size, pax?.realSize ?? header.sparse?.realSize ?? 0),
    xattrBytes: pax?.xattrBytes ?? 0,
  };
}

function afterData(left: number, padding: number): Stage {
  if (left > 0) return { at: 'data', left, padding };
  return padding > 0 ? { at: 'padding', left: padding } : { at: 'header' };
}

function longText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = end === -1 ? bytes : bytes.subarray(0, end);
  if (bytes.subarray(text.length).some((byte) => byte !== 0)) throw badTar('a long name contains NUL');
  return decodeName(text);
}

function zeros(bytes: Uint8Array): Uint8Array {
  if (bytes.some((byte) => byte !== 0)) throw badTar('it goes on behind its end');
  return bytes;
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
