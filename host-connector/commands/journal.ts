import type { DatabaseSync } from 'node:sqlite';
import { transact } from '../database.ts';
import * as z from 'zod';

import { commandResult, hostCommand, type CommandResult, type HostCommand } from '#shared/link/commands.ts';
import { wireError, type WireError } from '#shared/link/frames.ts';

/** Finished commands kept. An outbox entry lives far shorter than this many commands. */
export const JOURNAL_KEPT = 4096;

/** How a command ended, with the number of the last look at what it changed. */
export type Outcome =
  | { readonly ok: true; readonly seq: number; readonly result: CommandResult }
  | { readonly ok: false; readonly seq: number; readonly error: WireError };

const seq = z.int().positive();
const outcome = z.union([
  z.object({ ok: z.literal(true), seq, result: commandResult }),
  z.object({ ok: z.literal(false), seq, error: wireError }),
]);

/** A command that was begun and, as far as the disk knows, never ended. */
export interface Unfinished {
  readonly id: string;
  readonly command: HostCommand;
}

/** Which commands were acted upon, and with what outcome: the reason why a repeated command acts at most once. */
export class Journal {
  readonly #db: DatabaseSync;
  readonly #now: () => number;

  constructor(db: DatabaseSync, now: () => number) {
    this.#db = db;
    this.#now = now;
  }

  /** What is known of a command: its outcome, `begun` without one, or undefined when it was never seen. */
  lookup(id: string): Outcome | 'begun' | undefined {
    const row = this.#db.prepare('SELECT outcome FROM command WHERE id = ?').get(id);
    if (!row) return undefined;
    return row['outcome'] === null ? 'begun' : outcome.parse(JSON.parse(String(row['outcome'])));
  }

  /** Writes down that the command is about to act. On disk when it returns. */
  begin(id: string, command: HostCommand): void {
    transact(this.#db, () =>
      this.#db
        .prepare('INSERT INTO command (id, at, command) VALUES (?, ?, ?)')
        .run(id, this.#now(), JSON.stringify(command)),
    );
  }

  /** Writes down the end of a command that never began. */
  refuse(id: string, ended: Outcome): void {
    transact(this.#db, () =>
      this.#db
        .prepare(`INSERT INTO command (id, at, command, outcome) VALUES (?, ?, '', ?)`)
        .run(id, this.#now(), JSON.stringify(ended)),
    );
  }

  /** Writes down how it ended, and forgets the oldest ended ones beyond JOURNAL_KEPT. */
  finish(id: string, ended: Outcome): void {
    transact(this.#db, () => {
      this.#db.prepare(`UPDATE command SET outcome = ?, command = '' WHERE id = ?`).run(JSON.stringify(ended), id);
      this.#db
        .prepare(
          `DELETE FROM command WHERE id IN (
             SELECT id FROM command WHERE outcome IS NOT NULL ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?)`,
        )
        .run(JOURNAL_KEPT);
    });
  }

  /** What a crash interrupted, oldest first. */
  unfinished(): Unfinished[] {
    return this.#db
      .prepare('SELECT id, command FROM command WHERE outcome IS NULL ORDER BY at, rowid')
      .all()
      .map((row) => ({ id: String(row['id']), command: hostCommand.parse(JSON.parse(String(row['command']))) }));
  }
}
