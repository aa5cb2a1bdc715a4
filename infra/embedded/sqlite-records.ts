import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { MAX_SK_BYTES, prepare, type Prepared } from '../../functions/ports/prepare.ts';
import {
  ConditionFailed,
  type Key,
  type Page,
  type Query,
  type Records,
  type Stored,
  type Write,
} from '../../functions/ports/records.ts';

/** The most records in one page. */
const MAX_PAGE = 500;
/** A page ends once it holds this much (DynamoDB: 1 MB), so that nobody relies on one page being everything. */
const MAX_PAGE_BYTES = 1_000_000;
/** Transactions that wait for the next commit; more are answered `unavailable`. */
const MAX_WAITING = 10_000;
/** Expired records that the broom deletes at once; then others have a turn. */
const SWEEP_BATCH = 1000;

/** Records in one SQLite file, and what the process that owns the file may do to it. */
export interface SqliteRecords extends Records {
  /** Deletes the records whose time is over; the number that went. */
  sweepExpired(now: number): Promise<number>;
  /** Commits what waits, folds the log into the file and closes it. */
  close(): Promise<void>;
}

interface Row {
  readonly pk: string;
  readonly sk: string;
  readonly rev: number;
  readonly data: string;
  readonly expires_at: number | null;
}

interface Waiting {
  readonly writes: readonly Prepared[];
  readonly done: (error?: Error) => void;
}

/**
 * Opens (or makes) the records of `path`. WAL and synchronous=FULL: what was answered survives a crash of the machine.
 * Transactions that arrive in one turn of the event loop share one commit, hence one fsync.
 * @throws FairleadError `unavailable` when the file cannot be opened or is no record store.
 */
export function openSqliteRecords(path: string): SqliteRecords {
  try {
    return new Store(openDatabase(path));
  } catch (cause) {
    throw new FairleadError(
      'unavailable',
      `the records in ${path} cannot be opened: ${messageOf(cause)}; check the data directory`,
      { cause },
    );
  }
}

function openDatabase(path: string): DatabaseSync {
  // SQLite gives its log files the mode of the database, so the file is made first with the right one.
  closeSync(openSync(path, 'a', 0o600));
  const db = new DatabaseSync(path);
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 2000;
    CREATE TABLE IF NOT EXISTS records (
      pk TEXT NOT NULL, sk TEXT NOT NULL, rev INTEGER NOT NULL, data TEXT NOT NULL, expires_at INTEGER,
      PRIMARY KEY (pk, sk)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
  `);
  return db;
}

class Store implements SqliteRecords {
  readonly #db: DatabaseSync;
  readonly #get: StatementSync;
  readonly #rev: StatementSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #sweep: StatementSync;
  readonly #up: StatementSync;
  readonly #down: StatementSync;
  #waiting: Waiting[] = [];
  #closed = false;

  constructor(db: DatabaseSync) {
    this.#db = db;
    const columns = 'SELECT pk, sk, rev, data, expires_at FROM records WHERE pk = ?';
    this.#get = db.prepare(`${columns} AND sk = ?`);
    this.#rev = db.prepare('SELECT rev FROM records WHERE pk = ? AND sk = ?');
    this.#insert = db.prepare('INSERT INTO records (pk, sk, rev, data, expires_at) VALUES (?, ?, 1, ?, ?)');
    this.#update = db.prepare('UPDATE records SET rev = rev + 1, data = ?, expires_at = ? WHERE pk = ? AND sk = ?');
    this.#delete = db.prepare('DELETE FROM records WHERE pk = ? AND sk = ?');
    this.#sweep = db.prepare(
      'DELETE FROM records WHERE (pk, sk) IN (SELECT pk, sk FROM records WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)',
    );
    this.#up = db.prepare(`${columns} AND sk >= ? AND sk < ? AND sk <> ? ORDER BY sk ASC LIMIT ?`);
    this.#down = db.prepare(`${columns} AND sk >= ? AND sk < ? AND sk <> ? ORDER BY sk DESC LIMIT ?`);
  }

  async get<T>(key: Key): Promise<Stored<T> | undefined> {
    this.#mustBeOpen();
    const row = this.#get.get(key.pk, key.sk) as Row | undefined;
    return row && stored<T>(row);
  }

  async query<T>(pk: string, query: Query = {}): Promise<Page<T>> {
    this.#mustBeOpen();
    const limit = Math.min(query.limit ?? MAX_PAGE, MAX_PAGE);
    if (!(limit >= 1)) throw new FairleadError('internal', `a page of ${limit} records was asked for; at least 1`);
    const { prefix = '', after = '' } = query;
    let [from, end] = [prefix, endOfPrefix(prefix)];
    // One bound at each side: SQLite seeks by one of two only, and walks the rest.
    if (after !== '' && query.descending && bytewise(after, end) < 0) end = after;
    if (after !== '' && !query.descending && bytewise(after, from) > 0) from = after;
    const rows = (query.descending ? this.#down : this.#up).iterate(pk, from, end, after, limit + 1);
    const items: Stored<T>[] = [];
    let bytes = 0;
    for (const row of rows as Iterable<Row>) {
      const last = items.at(-1);
      if (last && (items.length === limit || bytes >= MAX_PAGE_BYTES)) return { items, next: last.sk };
      items.push(stored<T>(row));
      bytes += row.data.length;
    }
    return { items };
  }

  async transact(writes: readonly Write[]): Promise<void> {
    this.#mustBeOpen();
    const prepared = prepare(writes);
    if (prepared.length === 0) return;
    if (this.#waiting.length >= MAX_WAITING) {
      throw new FairleadError(
        'unavailable',
        `${MAX_WAITING} transactions are waiting for the disk; try again in a moment`,
      );
    }
    if (this.#waiting.length === 0) setImmediate(() => this.#commit());
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ writes: prepared, done: (error) => (error ? reject(error) : resolve()) });
    });
  }

  async sweepExpired(now: number): Promise<number> {
    let swept = 0;
    for (;;) {
      this.#mustBeOpen();
      const changes = Number(this.#sweep.run(now, SWEEP_BATCH).changes);
      swept += changes;
      if (changes < SWEEP_BATCH) return swept;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#commit();
    this.#closed = true;
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    this.#db.close();
  }

  #mustBeOpen(): void {
    if (this.#closed)
      throw new FairleadError('unavailable', 'the records are closed: Fairlead is stopping; try again when it runs');
  }

  /** One IMMEDIATE transaction for everything that waits. Conditions are checked before the first write of each, so none needs undoing alone. */
  #commit(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    const outcomes: { readonly waiting: Waiting; readonly error: Error | undefined }[] = [];
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const waiting of batch) outcomes.push({ waiting, error: this.#apply(waiting.writes) });
      this.#db.exec('COMMIT');
    } catch (cause) {
      this.#rollback();
      const error = storeFailure(cause);
      for (const waiting of batch) waiting.done(error);
      return;
    }
    for (const { waiting, error } of outcomes) waiting.done(error);
  }

  #rollback(): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
  }

  #apply(writes: readonly Prepared[]): ConditionFailed | undefined {
    const failed = writes.flatMap((write, index) => (this.#holds(write) ? [] : [index]));
    if (failed.length > 0) return new ConditionFailed(failed);
    for (const write of writes) this.#write(write);
    return undefined;
  }

  #holds({ key, when }: Prepared): boolean {
    if (when === undefined) return true;
    const row = this.#rev.get(key.pk, key.sk) as { rev: number } | undefined;
    return when === 'absent' ? row === undefined : row?.rev === when.rev;
  }

  #write(write: Prepared): void {
    const { pk, sk } = write.key;
    if (write.op === 'delete') this.#delete.run(pk, sk);
    if (write.op !== 'put') return;
    const { json, expires = null } = write;
    if (write.when === 'absent') this.#insert.run(pk, sk, json, expires);
    else this.#update.run(json, expires, pk, sk);
  }
}

function stored<T>(row: Row): Stored<T> {
  const { pk, sk, rev, data, expires_at: expiresAt } = row;
  return { pk, sk, rev, data: JSON.parse(data) as T, ...(expiresAt !== null && { expiresAt }) };
}

function bytewise(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Beyond every key, since no character lies behind U+10FFFF and no key is as long as this. */
const END_OF_ALL = '\u{10FFFF}'.repeat(MAX_SK_BYTES / 4 + 1);

/** The first text that is behind every text with this prefix: SQLite compares UTF-8 bytes, whose order is the order of code points. */
function endOfPrefix(prefix: string): string {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return END_OF_ALL;
  // Surrogates are no characters: behind U+D7FF comes U+E000.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}

function storeFailure(cause: unknown): FairleadError {
  const reason = messageOf(cause);
  return /disk is full|disk I\/O/.test(reason)
    ? new FairleadError('disk_full', `the records could not be written: ${reason}; free space in the data directory`, {
        cause,
      })
    : new FairleadError('unavailable', `the records could not be written: ${reason}; look again before you repeat`, {
        cause,
      });
}
