import { FairleadError } from '#shared/errors.ts';
import { csv, table, type Rows } from './table.ts';

// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const C1 = /[\u007f-\u009f]/g;
const hex = (char: string) => char.charCodeAt(0).toString(16);

const FORMATS = ['table', 'csv', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** @throws FairleadError `bad_request` for a format that is none of {@link FORMATS} */
export function asFormat(text: string): Format {
  const format = FORMATS.find((known) => known === text);
  if (format) return format;
  throw new FairleadError('bad_request', `Unknown format "${text}": choose one of ${FORMATS.join(', ')}.`);
}

/** What a `list` verb prints: rows for people and spreadsheets, the objects themselves for programs. */
export async function listing(
  format: Format,
  content: { headings: readonly string[]; rows: Rows; objects: unknown },
): Promise<string> {
  switch (format) {
    case 'table':
      return table(content.headings, content.rows);
    case 'csv':
      return csv(content.rows);
    case 'json':
      return `${json(content.objects)}\n`;
    case 'yaml':
      return await yaml(content.objects);
  }
}

/** JSON in one line; control characters that JSON leaves as they are (C1) are escaped too, for it may be shown on a terminal. */
export function json(value: unknown): string {
  return JSON.stringify(value).replace(C1, (char) => `\\u00${hex(char)}`);
}

/** YAML that LXD's reader (YAML 1.1) takes for the same values: "1", "yes" and "0755" stay quoted strings. */
export async function yaml(value: unknown, order: 'as given' | 'sorted' = 'as given'): Promise<string> {
  const { stringify } = await import('yaml');
  const options = { version: '1.1', indentSeq: false, lineWidth: 0, sortMapEntries: order === 'sorted' } as const;
  // A string with such a character is always written in double quotes.
  return stringify(value, options).replace(C1, (char) => `\\x${hex(char)}`);
}

/** @throws FairleadError `bad_request` with the place of the mistake */
export async function parseYaml(text: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text, { version: '1.1' });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FairleadError('bad_request', `This is not valid YAML: ${why}`, { cause });
  }
}

/** Bytes in powers of 1024 as lxc prints them: `0B`, `432.00KiB`. */
export function bytesIec(bytes: number): string {
  return scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']);
}

/** Bytes in powers of 1000 as lxc prints image sizes: `1.02MB`. */
export function bytesSi(bytes: number): string {
  return scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']);
}

function scaled(bytes: number, base: number, units: readonly string[]): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  return unit === 0 ? `${bytes}B` : `${value.toFixed(2)}${units[unit]}`;
}

/** The beginning of a fingerprint that people see and type. */
export function shortFingerprint(fingerprint: string): string {
  return fingerprint.slice(0, 12);
}

/** For `sort`: by name, with runs of digits as numbers (c2 before c10). */
export function naturally(a: string, b: string): number {
  const parts = (text: string) => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
    const [x = '', y = ''] = [left[at], right[at]];
    const numbers = /^\d/.test(x) && /^\d/.test(y) ? Number(x) - Number(y) : 0;
    if (numbers !== 0) return numbers;
    if (x !== y) return x < y ? -1 : 1;
  }
  return left.length - right.length;
}
