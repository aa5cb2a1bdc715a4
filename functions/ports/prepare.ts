import { FairleadError } from '#shared/errors.ts';
import {
  MAX_RECORD_BYTES,
  MAX_TRANSACTION,
  MAX_TRANSACTION_BYTES,
  type Condition,
  type Key,
  type Write,
} from './records.ts';

/** DynamoDB's bounds of a key. */
export const MAX_PK_BYTES = 2048;
export const MAX_SK_BYTES = 1024;

/** A write with its data already as text, so that what the caller changes later is not what is stored. */
export type Prepared =
  | {
      readonly op: 'put';
      readonly key: Key;
      readonly when: Condition;
      readonly json: string;
      /** Whole milliseconds. */
      readonly expires: number | undefined;
    }
  | { readonly op: 'delete'; readonly key: Key; readonly when: { readonly rev: number } | undefined }
  | { readonly op: 'check'; readonly key: Key; readonly when: Condition };

/**
 * The writes of a transaction, within the bounds that every adapter of Records keeps.
 * @throws FairleadError `internal` for too many writes, a key twice or no key at all; `body_too_large` for a record over {@link MAX_RECORD_BYTES}
 * or all of them over {@link MAX_TRANSACTION_BYTES}.
 */
export function prepare(writes: readonly Write[]): Prepared[] {
  if (writes.length > MAX_TRANSACTION) {
    throw new FairleadError(
      'internal',
      `a transaction takes at most ${MAX_TRANSACTION} writes, not ${writes.length}; split the work`,
    );
  }
  const seen = new Set<string>();
  const prepared = writes.map((write): Prepared => {
    const { key } = write;
    checkKey(key);
    const name = JSON.stringify([key.pk, key.sk]);
    if (seen.has(name))
      throw new FairleadError('internal', `a transaction writes ${name} twice; a key may stand in it once`);
    seen.add(name);
    if (write.op === 'check') return { op: 'check', key, when: write.when };
    if (write.op === 'delete') return { op: 'delete', key, when: write.when };
    const expires = write.expiresAt === undefined ? undefined : Math.ceil(write.expiresAt);
    return { op: 'put', key, when: write.when, json: recordText(name, write.data), expires };
  });
  const bytes = prepared.reduce((sum, write) => sum + (write.op === 'put' ? Buffer.byteLength(write.json) : 0), 0);
  if (bytes <= MAX_TRANSACTION_BYTES) return prepared;
  throw new FairleadError(
    'body_too_large',
    `a transaction would write ${bytes} bytes; at most ${MAX_TRANSACTION_BYTES} fit. Change less at once`,
  );
}

function checkKey({ pk, sk }: Key): void {
  for (const [part, most] of [
    [pk, MAX_PK_BYTES],
    [sk, MAX_SK_BYTES],
  ] as const) {
    if (part === '' || Buffer.byteLength(part) > most || !part.isWellFormed() || part.includes('\0')) {
      throw new FairleadError(
        'internal',
        `${JSON.stringify(part).slice(0, 100)} is no key: 1 to ${most} bytes of text without NUL`,
      );
    }
  }
}

function recordText(name: string, data: unknown): string {
  const json = JSON.stringify(data) as string | undefined;
  if (json === undefined) throw new FairleadError('internal', `the record ${name} has no data`);
  const bytes = Buffer.byteLength(json);
  if (bytes > MAX_RECORD_BYTES) {
    throw new FairleadError(
      'body_too_large',
      `the record ${name} would take ${bytes} bytes; at most ${MAX_RECORD_BYTES} fit. Shorten what you store in it`,
    );
  }
  return json;
}
