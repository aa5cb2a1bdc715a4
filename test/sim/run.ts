import type { Functions } from '../../functions/functions.ts';
import type { Journal } from '../../host-connector/commands/journal.ts';
import type { Records } from '../../functions/ports/records.ts';
import type { Chance } from './chance.ts';
import type { Nemesis } from './nemesis.ts';
import type { Timeline } from './timeline.ts';

/** What a broken build replaces, so that the simulator can show that it notices. */
export interface Build {
  readonly records?: (records: Records) => Records;
  readonly functions?: (functions: Functions) => Functions;
  readonly journal?: (journal: Journal) => Journal;
}

/** Something that must never be so, was. */
export class Violation extends Error {
  constructor(invariant: string, what: string) {
    super(`${invariant}: ${what}`);
    this.name = 'Violation';
  }
}

/** What every part of a run shares. */
export interface Run {
  readonly seed: number;
  readonly chance: Chance;
  readonly timeline: Timeline;
  readonly nemesis: Nemesis;
  readonly build: Build;
  /** A line of the trace, made only when somebody reads it. */
  readonly trace: (line: () => string) => void;
  /** Notes what must never be so; the run ends with the first. */
  readonly violated: (invariant: string, what: string) => void;
  /** Secrets that must not be found in any record or log. */
  readonly secrets: Set<string>;
}
