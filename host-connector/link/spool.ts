import type { DatabaseSync } from 'node:sqlite';

import type { InstanceReport } from '#shared/link/commands.ts';
import { encodeFrame, toWire, upFrame, type UpFrame } from '#shared/link/frames.ts';
import { FairleadError } from '#shared/errors.ts';
import type { Outcome } from '../commands/journal.ts';
import { Counter, transactLazily } from '../database.ts';

/** Frames kept for an edge that does not answer. Beyond it the oldest go: the journal answers a repeated command anew, and a report replaces events. */
export const SPOOL_KEPT = 8192;
/** Frames read from disk at once when all are to be sent again. */
export const SPOOL_PAGE = 64;

export type Result = Extract<UpFrame, { t: 'res' }>;
export type StateEvent = Extract<UpFrame, { t: 'event' }>;
export type Spooled = Result | StateEvent;
export type Report = Extract<UpFrame, { t: 'report' }>;

/**
 * What the edge must learn, until it has `got` it. It outlives this process. What a power failure takes is told otherwise: a result from the journal,
 * when the command comes again; a state by the report on the next connection. So nobody waits for the disk here.
 */
export class Spool {
  readonly #db: DatabaseSync;
  readonly #n: Counter;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#n = new Counter(db, 'spool');
  }

  /** Keeps a command's result, instead of an earlier copy of it. */
  result(id: string, outcome: Outcome): Spooled {
    return this.#keep(`res ${id}`, this.passing(id, outcome));
  }

  /** A result that is sent once and not kept: whoever asked a question asks again. One too large for a frame says so instead. */
  passing(id: string, outcome: Outcome): Result {
    const frame: Result = { t: 'res', n: this.#n.next(), id, ...outcome };
    return fits(frame) ? frame : tooLarge(frame);
  }

  /** Keeps an instance's newest state, instead of an older one. */
  event(seq: number, instance: InstanceReport): Spooled {
    return this.#keep(`event ${instance.id}`, { t: 'event', n: this.#n.next(), seq, instance });
  }

  /** The number of a frame that is told like what is kept here, and not kept. */
  number(): number {
    return this.#n.next();
  }

  /** The edge has frame `n`. A number that is not there any more (replaced, or told twice) is fine. */
  got(n: number): void {
    transactLazily(this.#db, () => this.#db.prepare('DELETE FROM spool WHERE n = ?').run(n));
  }

  /** A page of what is not acknowledged, behind `after`, oldest first. */
  waiting(after = 0): Spooled[] {
    return this.#db
      .prepare('SELECT frame FROM spool WHERE n > ? ORDER BY n LIMIT ?')
      .all(after, SPOOL_PAGE)
      .map((row) => upFrame.parse(JSON.parse(String(row['frame']))) as Spooled);
  }

  #keep(key: string, frame: Spooled): Spooled {
    transactLazily(this.#db, () => {
      this.#db.prepare('DELETE FROM spool WHERE key = ?').run(key);
      this.#db.prepare('INSERT INTO spool VALUES (?, ?, ?)').run(frame.n, key, JSON.stringify(frame));
      this.#db
        .prepare('DELETE FROM spool WHERE n IN (SELECT n FROM spool ORDER BY n DESC LIMIT -1 OFFSET ?)')
        .run(SPOOL_KEPT);
    });
    return frame;
  }
}

function fits(frame: Spooled): boolean {
  try {
    encodeFrame(frame);
    return true;
  } catch {
    return false;
  }
}

function tooLarge({ t, n, id, seq }: Result): Result {
  const error = new FairleadError(
    'host_failed',
    'The command ended, but its result is too large to be told over the link.',
  );
  return { t, n, id, seq, ok: false, error: toWire(error) };
}
