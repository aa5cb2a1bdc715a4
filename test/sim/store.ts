import {
  ConditionFailed,
  MAX_TRANSACTION,
  type Key,
  type Page,
  type Query,
  type Stored,
  type Write,
} from '../../functions/ports/records.ts';

interface Row {
  readonly rev: number;
  /** Frozen: nobody changes what is stored by changing what was read. */
  readonly data: unknown;
  readonly expiresAt: number | undefined;
}

/** Small, so that nobody relies on one page being everything. */
const PAGE = 10;

/** The records of a run: at once, always right, and told to whoever watches. Faults are the ports'. */
export class Store {
  readonly #partitions = new Map<string, Map<string, Row>>();
  /** Called after each commit. */
  watch: (writes: readonly Write[]) => void = () => {};

  get<T>({ pk, sk }: Key): Stored<T> | undefined {
    const row = this.#partitions.get(pk)?.get(sk);
    return row && stored<T>(pk, sk, row);
  }

  query<T>(pk: string, { prefix = '', after = '', limit = PAGE, descending = false }: Query = {}): Page<T> {
    const rows = this.#partitions.get(pk) ?? new Map<string, Row>();
    const order = descending ? -1 : 1;
    const names = [...rows.keys()]
      .filter((sk) => sk.startsWith(prefix) && (after === '' || (descending ? sk < after : sk > after)))
      .toSorted((a, b) => (a < b ? -order : order));
    const page = names.slice(0, Math.min(limit, PAGE));
    const last = page.at(-1);
    const items = page.map((sk) => stored<T>(pk, sk, rows.get(sk)!));
    return { items, ...(last !== undefined && names.length > page.length && { next: last }) };
  }

  transact(writes: readonly Write[]): void {
    if (writes.length > MAX_TRANSACTION) throw new Error(`a transaction of ${writes.length} writes`);
    const names = new Set(writes.map(({ key }) => `${key.pk} ${key.sk}`));
    if (names.size < writes.length) throw new Error(`a transaction writes a key twice: ${[...names].join(', ')}`);
    const failed = writes.flatMap((write, at) => (this.#holds(write) ? [] : [at]));
    if (failed.length > 0) throw new ConditionFailed(failed);
    for (const write of writes) this.#write(write);
    this.watch(writes);
  }

  /** Deletes what has expired, as a broom does some time. */
  sweep(now: number): void {
    for (const rows of this.#partitions.values()) {
      for (const [sk, { expiresAt }] of rows) if (expiresAt !== undefined && expiresAt <= now) rows.delete(sk);
    }
  }

  /** Everything in the partitions that begin so. */
  all<T>(collection: string): Stored<T>[] {
    return [...this.#partitions]
      .filter(([pk]) => pk.startsWith(collection))
      .flatMap(([pk, rows]) => [...rows].map(([sk, row]) => stored<T>(pk, sk, row)));
  }

  #holds({ key, when }: Write): boolean {
    if (when === undefined) return true;
    const row = this.#partitions.get(key.pk)?.get(key.sk);
    if (when === 'absent') return row === undefined;
    return row?.rev === when.rev;
  }

  #write(write: Write): void {
    const { pk, sk } = write.key;
    if (write.op === 'delete') this.#partitions.get(pk)?.delete(sk);
    if (write.op !== 'put') return;
    const rows = this.#partitions.get(pk) ?? new Map<string, Row>();
    this.#partitions.set(pk, rows);
    const rev = (rows.get(sk)?.rev ?? 0) + 1;
    rows.set(sk, { rev, data: frozen(JSON.parse(JSON.stringify(write.data))), expiresAt: write.expiresAt });
  }
}

function stored<T>(pk: string, sk: string, { rev, data, expiresAt }: Row): Stored<T> {
  return { pk, sk, rev, data: data as T, ...(expiresAt !== undefined && { expiresAt }) };
}

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) frozen(inner);
  return Object.freeze(value);
}
