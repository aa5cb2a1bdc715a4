import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { FairleadError, messageOf } from '#shared/errors.ts';

const VERSION = 1;

const SCHEMA = `
  CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  CREATE TABLE command (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, command TEXT NOT NULL, outcome TEXT
  ) STRICT;
  CREATE INDEX command_at ON command (at);
  CREATE TABLE spool (n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, frame TEXT NOT NULL) STRICT;
`;

/**
 * Opens `<stateDir>/journal.db`: what the host did, and what it has yet to tell. Every commit is on disk before it returns,
 * but for those of {@link transactLazily}.
 * @throws FairleadError `internal` when a newer connector wrote the file
 */
export function openDatabase(stateDir: string): DatabaseSync {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, 'journal.db');
  const db = new DatabaseSync(path);
  // Commands and results are nobody else's business; SQLite gives its other files the same mode.
  chmodSync(path, 0o600);
  try {
    // Exclusive: two connectors on one state would both act on the same commands.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec('PRAGMA cache_size = -512; BEGIN IMMEDIATE; COMMIT');
  } catch (cause) {
    db.close();
    throw new FairleadError(
      'busy',
      `${path} is in use: a connector runs on this state already. Stop it first. (${messageOf(cause)})`,
      { cause },
    );
  }
  try {
    ensureSchema(db, path);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/** Makes the tables of a new journal. @throws FairleadError `internal` when a newer connector wrote the file `path` */
export function ensureSchema(db: DatabaseSync, path: string): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > VERSION) {
    throw new FairleadError(
      'internal',
      `${path} was written by a newer connector (format ${version}, this one knows ${VERSION}). Install that version again.`,
    );
  }
  if (version > 0) return;
  transact(db, () => {
    db.exec(SCHEMA);
    db.exec(`PRAGMA user_version = ${VERSION}`);
  });
}

/** SQLite's code for a disk without room. */
const SQLITE_FULL = 13;

/**
 * Runs `work` in one transaction: all of it is kept, or nothing.
 * @throws FairleadError `disk_full`
 */
export function transact<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk has SQLite roll back by itself.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw asDiskFull(error);
  }
}

/**
 * As {@link transact}, but without waiting for the disk: it is there after the next commit that does. For what a crash may take back as long as it
 * takes nothing that was committed before.
 * @throws FairleadError `disk_full`
 */
export function transactLazily<T>(db: DatabaseSync, work: () => T): T {
  db.exec('PRAGMA synchronous = NORMAL');
  try {
    return transact(db, work);
  } finally {
    db.exec('PRAGMA synchronous = FULL');
  }
}

function asDiskFull(error: unknown): unknown {
  const full = error instanceof Error && 'errcode' in error && error.errcode === SQLITE_FULL;
  const text = 'The disk of this host is full, so nothing was done. Free some space there, and try again.';
  return full ? new FairleadError('disk_full', text, { cause: error }) : error;
}

/** Numbers reserved on disk at once, so that counting is not a disk write each time. A crash skips the rest of a block. */
const COUNTER_BLOCK = 256;

/** A number that only grows, also over crashes: 1, 2, 3, ... with gaps. */
export class Counter {
  readonly #db: DatabaseSync;
  readonly #name: string;
  #next: number;
  #reserved: number;

  constructor(db: DatabaseSync, name: string) {
    this.#db = db;
    this.#name = name;
    const row = db.prepare('SELECT value FROM counter WHERE name = ?').get(name);
    this.#reserved = Number(row?.['value'] ?? 0);
    this.#next = this.#reserved + 1;
  }

  next(): number {
    if (this.#next > this.#reserved) {
      const reserved = this.#next + COUNTER_BLOCK - 1;
      this.#db
        .prepare('INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value')
        .run(this.#name, reserved);
      this.#reserved = reserved;
    }
    return this.#next++;
  }
}
