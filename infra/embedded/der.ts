/** As much of DER (X.690) as a certificate needs: each function gives one encoded element. */

const UTC_TIME_UNTIL = 2050;

/** Tag, length, content. */
function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const hex = content.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content]);
}

export const sequence = (...items: readonly Uint8Array[]) => element(0x30, ...items);
export const set = (...items: readonly Uint8Array[]) => element(0x31, ...items);
export const octets = (content: Uint8Array) => element(0x04, content);
export const bits = (content: Uint8Array, unused = 0) => element(0x03, Buffer.from([unused]), content);
export const utf8 = (text: string) => element(0x0c, Buffer.from(text));
export const yes = () => element(0x01, Buffer.from([0xff]));
/** `[number]` around an element (explicit tag). */
export const explicit = (number: number, content: Uint8Array) => element(0xa0 | number, content);
/** `[number]` instead of the tag of a primitive (implicit tag). */
export const implicit = (number: number, content: Uint8Array) => element(0x80 | number, content);

/** A positive integer of any size, big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let first = bytes.findIndex((byte) => byte !== 0);
  if (first < 0) first = bytes.length - 1;
  const digits = bytes.subarray(first);
  return element(0x02, (digits[0] ?? 0) & 0x80 ? Buffer.from([0]) : Buffer.alloc(0), digits);
}

/** An object identifier such as `2.5.4.3`. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const base128 = (value: number): number[] => {
    const digits = [value & 0x7f];
    for (let left = value >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  };
  return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** A point in time, to the second (RFC 5280 §4.1.2.5: two digits of the year until 2049, four after). */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  const short = date.getUTCFullYear() < UTC_TIME_UNTIL;
  return element(short ? 0x17 : 0x18, Buffer.from(short ? digits.slice(2) : digits));
}
