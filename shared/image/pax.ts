/** pax extended headers (POSIX.1-2001): records of `length key=value\n` that override the header after them. */
import { badTar, decodeName } from './tar-header.ts';

/** What the records of one extended header say, as far as it changes where and as whom an entry is unpacked. */
export interface PaxRecords {
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** GNU sparse 0.1 and 1.0 name the file here; it wins over `path`. */
  readonly sparseName?: string;
  /** The size after unpacking of a GNU sparse file. */
  readonly realSize?: number;
  /** Bytes of all extended attributes and access control lists, names and values. */
  readonly xattrBytes: number;
}

const TEXT_KEYS: Readonly<Record<string, 'path' | 'linkpath' | 'sparseName'>> = {
  path: 'path',
  linkpath: 'linkpath',
  'GNU.sparse.name': 'sparseName',
};
const NUMBER_KEYS: Readonly<Record<string, 'size' | 'uid' | 'gid' | 'realSize'>> = {
  size: 'size',
  uid: 'uid',
  gid: 'gid',
  'GNU.sparse.realsize': 'realSize',
  'GNU.sparse.size': 'realSize',
};

/** Reads the records of one extended header. @throws FairleadError `bad_image` */
export function parsePax(bytes: Uint8Array): PaxRecords {
  const found: { -readonly [K in keyof PaxRecords]: PaxRecords[K] } = { xattrBytes: 0 };
  for (const { key, value } of records(bytes)) {
    if (Object.hasOwn(TEXT_KEYS, key)) found[TEXT_KEYS[key] ?? 'path'] = textValue(key, value);
    else if (Object.hasOwn(NUMBER_KEYS, key)) found[NUMBER_KEYS[key] ?? 'size'] = numberValue(key, value);
    else if (/^(SCHILY|LIBARCHIVE)\./.test(key)) found.xattrBytes += key.length + value.length;
  }
  return found;
}

/**
 * A global header changes every entry after it, behind the back of whoever reads single headers. Only harmless ones pass
 * (`git archive` writes a comment). @throws FairleadError `bad_image`
 */
export function refuseGlobalOverrides(bytes: Uint8Array): void {
  for (const { key } of records(bytes)) {
    if (!/^(comment|charset|hdrcharset|mtime|atime|ctime)$/.test(key))
      throw badTar('a global header sets more than a comment');
  }
}

function* records(bytes: Uint8Array): Generator<{ key: string; value: Uint8Array }> {
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 || space - at > 8 ? '' : decodeName(bytes.subarray(at, space));
    const length = /^[1-9]\d*$/.test(digits) ? Number(digits) : 0;
    const equals = bytes.indexOf(0x3d, space);
    const end = at + length;
    const wellFormed = length > 0 && end <= bytes.length && equals > space && equals < end && bytes[end - 1] === 0x0a;
    if (!wellFormed) throw badTar('an extended header is malformed');
    yield { key: decodeName(bytes.subarray(space + 1, equals)), value: bytes.subarray(equals + 1, end - 1) };
    at = end;
  }
}

function textValue(key: string, value: Uint8Array): string {
  if (value.length === 0 || value.includes(0)) throw badTar(`an extended header's ${key} is empty or contains NUL`);
  return decodeName(value);
}

function numberValue(key: string, value: Uint8Array): number {
  const digits = decodeName(value);
  const number = Number(digits);
  if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(number))
    throw badTar(`an extended header's ${key} is not a number`);
  return number;
}
