/** Builds tarballs for tests, also such as no program would write. */
import { BLOCK } from './tar-header.ts';

/** One entry to write; everything not given is ordinary. */
export interface Part {
  readonly name: string;
  readonly type?: string;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly data?: string | Uint8Array;
  /** Size in the header, when it shall lie. */
  readonly size?: number;
  /** Records of a pax header before the entry. */
  readonly pax?: Readonly<Record<string, string>>;
  readonly device?: readonly [major: number, minor: number];
}

const bytesOf = (data: string | Uint8Array) => (typeof data === 'string' ? new TextEncoder().encode(data) : data);

/** A whole archive with its end mark. */
export function tarball(parts: readonly Part[]): Uint8Array {
  return Buffer.concat([...parts.map(part), new Uint8Array(2 * BLOCK)]);
}

/** One entry: extension headers where the name is long or `pax` is given, header, data, padding. */
export function part(entry: Part): Uint8Array {
  const data = bytesOf(entry.data ?? '');
  const extensions: Uint8Array[] = [];
  if (entry.pax !== undefined) extensions.push(extension('x', paxRecords(entry.pax)));
  if (bytesOf(entry.name).length > 100) extensions.push(extension('L', bytesOf(`${entry.name}\0`)));
  if (bytesOf(entry.link ?? '').length > 100) extensions.push(extension('K', bytesOf(`${entry.link}\0`)));
  return Buffer.concat([...extensions, header(entry, entry.size ?? data.length), padded(data)]);
}

/** The records of a pax header. */
export function paxRecords(records: Readonly<Record<string, string>>): Uint8Array {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = bytesOf(` ${key}=${value}\n`).length;
    let length = rest + String(rest).length;
    if (rest + String(length).length !== length) length = rest + String(length).length;
    return `${length} ${key}=${value}\n`;
  });
  return bytesOf(lines.join(''));
}

/** An extension header of any type with its content. */
export function extension(type: string, content: Uint8Array): Uint8Array {
  return Buffer.concat([header({ name: '././@LongLink', type }, content.length), padded(content)]);
}

function header(entry: Part, size: number): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  block.set(bytesOf(entry.name).subarray(0, 100), 0);
  block.write(octal(entry.mode ?? 0o644, 7), 100);
  numeric(block, 108, 8, entry.uid ?? 0);
  numeric(block, 116, 8, entry.gid ?? 0);
  numeric(block, 124, 12, size);
  block.write(octal(1_700_000_000, 11), 136);
  block.write(entry.type ?? '0', 156, 'latin1');
  block.set(bytesOf(entry.link ?? '').subarray(0, 100), 157);
  block.write('ustar  \0', 257, 'latin1');
  if (entry.device !== undefined) {
    block.write(octal(entry.device[0], 7), 329);
    block.write(octal(entry.device[1], 7), 337);
  }
  block.fill(0x20, 148, 156);
  block.write(
    `${octal(
      block.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
    'latin1',
  );
  return block;
}

/** Octal where it fits, else GNU base-256. */
function numeric(block: Buffer, offset: number, length: number, value: number): void {
  if (value < 8 ** (length - 1)) {
    block.write(octal(value, length - 1), offset);
    return;
  }
  block[offset] = 0x80;
  for (let i = length - 1, rest = value; i > 0 && rest > 0; i--, rest = Math.floor(rest / 256))
    block[offset + i] = rest % 256;
}

const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');

function padded(content: Uint8Array): Uint8Array {
  return Buffer.concat([content, new Uint8Array((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}
