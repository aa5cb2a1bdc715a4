import { createHash, randomBytes, randomUUID } from 'node:crypto';

import type { Objects } from '../../../functions/ports/objects.ts';
import type { Check } from './check.ts';

/** What is put and read; small, for it is only about who is let in. */
const BYTES = 1000;

export interface ObjectsWorld {
  /** Below which everything is put. */
  readonly prefix: string;
  readonly objects: Objects;
  /** The same by way of CloudFront. */
  readonly passed?: Objects;
}

/** What signed URLs allow and refuse. */
export function objectChecks({ prefix, objects, passed }: ObjectsWorld): Check[] {
  const bytes = randomBytes(BYTES);
  const terms = { length: BYTES, sha256: sha256(bytes), once: true };
  const fresh = () => `${prefix}${randomUUID()}`;
  const put = async (key: string, body: Uint8Array, change: Record<string, string | undefined> = {}) => {
    const { url, headers } = await objects.signPut(key, terms);
    return upload(url, { ...headers, ...change }, body);
  };
  const stored = async () => {
    const key = fresh();
    const status = await put(key, bytes);
    if (status !== '200') throw new Error(`the upload was answered ${status}`);
    return key;
  };
  const other = randomBytes(BYTES);
  const reading = (from: Objects, by: string): Check[] => [
    {
      question: `a signed download ${by} gives the bytes`,
      expected: '200, the same',
      look: async () => {
        const response = await fetch(await from.signGet(await stored()));
        const same = Buffer.from(await response.arrayBuffer()).equals(bytes);
        return `${response.status}, ${same ? 'the same' : 'others'}`;
      },
    },
    {
      question: `a range of a signed download ${by} gives that range`,
      expected: '206, 10 bytes',
      look: async () => {
        const response = await fetch(await from.signGet(await stored()), { headers: { range: 'bytes=0-9' } });
        return `${response.status}, ${(await response.arrayBuffer()).byteLength} bytes`;
      },
    },
    {
      question: `a download ${by} with another signature is refused`,
      expected: '403',
      look: async () => {
        const url = await from.signGet(await stored());
        return String((await fetch(url.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status);
      },
    },
  ];
  return [
    { question: 'a signed upload is taken', expected: '200', look: () => put(fresh(), bytes) },
    { question: 'other bytes of the same length are refused', expected: '400', look: () => put(fresh(), other) },
    {
      question: 'an upload without its checksum header is refused',
      expected: '403',
      look: () => put(fresh(), bytes, { 'x-amz-checksum-sha256': undefined }),
    },
    {
      question: 'a second upload of one object is refused',
      expected: '412',
      look: async () => put(await stored(), bytes),
    },
    ...reading(objects, 'from S3'),
    ...(passed ? reading(passed, 'by way of CloudFront') : []),
  ];
}

/** Puts bytes to a signed URL; the status. */
export async function upload(
  url: string,
  headers: Readonly<Record<string, string | undefined>>,
  body: Uint8Array,
): Promise<string> {
  // fetch makes these two itself, of the URL and the body.
  const own = Object.entries(headers).filter(
    ([name, value]) => value !== undefined && name !== 'host' && name !== 'content-length',
  );
  const response = await fetch(url, {
    method: 'PUT',
    headers: Object.fromEntries(own) as Record<string, string>,
    body: Buffer.from(body),
  });
  await response.arrayBuffer();
  return String(response.status);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
