/** The fields of one 512-byte tar header: ustar (POSIX.1-1988) and GNU. What several headers mean together is in tar.ts. */
import { FairleadError } from '#shared/errors.ts';

/** Size of a tar block in bytes. */
export const BLOCK = 512;

/** One header block, decoded but not yet combined with the extension headers before it. */
export interface RawHeader {
  readonly name: string;
  readonly linkname: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly typeflag: string;
  /** For GNU sparse files: the size after unpacking, and whether more sparse blocks follow the header. */
  readonly sparse: { readonly realSize: number; readonly extended: boolean } | undefined;
}

/** The refusal every reader of tarballs throws. */
export function badTar(why: string): FairleadError {
  return new FairleadError(
    'bad_image',
    `The tarball cannot be used: ${why}. Pack it again with GNU tar and upload it once more.`,
  );
}

/**
 * Decodes a header block of {@link BLOCK} bytes.
 * @returns undefined for a block of zeros, which ends an archive.
 * @throws FairleadError `bad_image` when the checksum or a number is wrong.
 */
export function parseHeader(block: Uint8Array): RawHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  verifyChecksum(block);
  const magic = String.fromCharCode(...block.subarray(257, 265));
  const typeflag = String.fromCharCode(block[156] ?? 0);
  const prefix = magic.startsWith('ustar\0') ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkname: text(block, 157, 100),
    mode: number(block, 100, 8, 'mode') & 0o7777,
    uid: number(block, 108, 8, 'uid'),
    gid: number(block, 116, 8, 'gid'),
    size: number(block, 124, 12, 'size'),
    typeflag,
    sparse:
      typeflag === 'S' ? { realSize: number(block, 483, 12, 'real size'), extended: block[482] === 1 } : undefined,
  };
}

/** Whether one more block of the sparse map follows this one (GNU format). */
export function sparseBlockContinues(block: Uint8Array): boolean {
  return block[504] === 1;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const latin1 = new TextDecoder('latin1');

/** Decodes a name. Names are bytes: what is not UTF-8 is shown as Latin-1, so that no two bytes become one. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return latin1.decode(bytes);
  }
}

function verifyChecksum(block: Uint8Array): void {
  const stored = number(block, 148, 8, 'checksum');
  let unsigned = 8 * 32;
  let signed = 8 * 32;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  if (stored !== unsigned && stored !== signed)
    throw badTar('a header has a wrong checksum, so this is no tarball or it is damaged');
}

/** Text up to the first NUL. */
function text(block: Uint8Array, offset: number, length: number): string {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return decodeName(end === -1 ? field : field.subarray(0, end));
}

/** An octal number, or GNU's base-256 for what octal cannot hold. */
function number(block: Uint8Array, offset: number, length: number, what: string): number {
  const field = block.subarray(offset, offset + length);
  const value = (field[0] ?? 0) & 0x80 ? base256(field) : octal(field);
  if (value === undefined || value > Number.MAX_SAFE_INTEGER) throw badTar(`a header's ${what} is not a number`);
  return value;
}

function octal(field: Uint8Array): number | undefined {
  const digits = String.fromCharCode(...field)
    .replace(/^ +/, '')
    .replace(/[ \0].*$/s, '');
  if (digits === '') return 0;
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function base256(field: Uint8Array): number | undefined {
  if (field[0] === 0xff) return undefined;
  let value = (field[0] ?? 0) & 0x7f;
  for (const byte of field.subarray(1)) {
    value = value * 256 + byte;
    if (value > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return value;
}
