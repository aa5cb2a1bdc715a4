/**
 * The store of records. Every record has a partition key, a sort key and a revision that the store counts up.
 * Two adapters: SQLite (infra/embedded) and DynamoDB (functions/aws); `records.contract.ts` runs against both.
 */

export interface Key {
  readonly pk: string;
  readonly sk: string;
}

/** A record as it is stored. `expiresAt` (ms) is a broom only: readers check it themselves ({@link live}). */
export interface Stored<T> extends Key {
  readonly rev: number;
  readonly data: T;
  readonly expiresAt?: number;
}

/** `absent`: no record may have the key. `rev`: the record must exist with that revision. */
export type Condition = 'absent' | { readonly rev: number };

export type Write =
  | {
      readonly op: 'put';
      readonly key: Key;
      readonly data: unknown;
      readonly when: Condition;
      readonly expiresAt?: number;
    }
  | { readonly op: 'delete'; readonly key: Key; readonly when?: { readonly rev: number } }
  | { readonly op: 'check'; readonly key: Key; readonly when: Condition };

/** The most writes one transaction takes. */
export const MAX_TRANSACTION = 25;
/** All records of one transaction together, as JSON (DynamoDB: 4 MB, what it adds included). */
export const MAX_TRANSACTION_BYTES = 3_900_000;
/** The largest record, as JSON (DynamoDB: 400 KB). */
export const MAX_RECORD_BYTES = 350_000;

export interface Page<T> {
  readonly items: readonly Stored<T>[];
  /** Pass as `after` to read on; absent at the end. */
  readonly next?: string;
}

export interface Query {
  /** Sort keys that begin so; all when empty. */
  readonly prefix?: string;
  /** Sort key to continue after. */
  readonly after?: string;
  /** At most this many (default and bound 500). */
  readonly limit?: number;
  readonly descending?: boolean;
}

export interface Records {
  /** Strongly consistent. */
  get<T>(key: Key): Promise<Stored<T> | undefined>;
  /** Strongly consistent, ordered by sort key (bytewise). */
  query<T>(pk: string, query?: Query): Promise<Page<T>>;
  /**
   * All or nothing, at most {@link MAX_TRANSACTION} writes on distinct keys.
   * @throws ConditionFailed when any condition does not hold.
   * @throws FairleadError `unavailable` when the store is throttled or the outcome is unknown; the caller reloads and decides again.
   */
  transact(writes: readonly Write[]): Promise<void>;
}

/** A condition of a transaction did not hold; `failed` are the indexes of those writes. Internal: services turn it into a FairleadError or retry. */
export class ConditionFailed extends Error {
  readonly failed: readonly number[];

  constructor(failed: readonly number[]) {
    super(`condition failed on write ${failed.join(', ')}`);
    this.name = 'ConditionFailed';
    this.failed = failed;
  }
}

/** The record if it is there and its time is not over. */
export function live<T>(stored: Stored<T> | undefined, now: number): Stored<T> | undefined {
  return stored !== undefined && (stored.expiresAt === undefined || stored.expiresAt > now) ? stored : undefined;
}

/** Every record of a partition, page by page. */
export async function queryAll<T>(records: Records, pk: string, prefix?: string): Promise<Stored<T>[]> {
  const all: Stored<T>[] = [];
  let after: string | undefined;
  do {
    const page: Page<T> = await records.query<T>(pk, { ...(prefix && { prefix }), ...(after && { after }) });
    all.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return all;
}
