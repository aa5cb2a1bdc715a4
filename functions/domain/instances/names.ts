/** Words for instances that are launched without a name. */
const FIRST = [
  'able',
  'brave',
  'calm',
  'deep',
  'eager',
  'fair',
  'glad',
  'keen',
  'lively',
  'mellow',
  'neat',
  'proud',
  'quick',
  'sound',
  'true',
  'warm',
];
const SECOND = [
  'anchor',
  'bow',
  'cleat',
  'deck',
  'fathom',
  'gull',
  'harbor',
  'hull',
  'jetty',
  'keel',
  'mast',
  'pier',
  'reef',
  'sail',
  'tide',
  'wharf',
];

/** A readable name from four random bytes. */
export function inventName(bytes: Uint8Array): string {
  const [first = 0, second = 0, high = 0, low = 0] = bytes;
  const number = (high * 256 + low) % 10_000;
  return `${FIRST[first % FIRST.length]}-${SECOND[second % SECOND.length]}-${number}`;
}

/** LXD's prefix and three random bytes. */
export function hardwareAddress(bytes: Uint8Array): string {
  return ['00', '16', '3e', ...Array.from(bytes.slice(0, 3), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
