import type { TimerClock } from './clock.ts';

/** What tests do to messages, either way. Shares are 0…1 and drawn from the seed. */
export interface ChaosOptions {
  readonly seed: number;
  /** Share of messages that are held back up to `delayMs`, so that others pass them. */
  readonly reorder: number;
  readonly duplicate: number;
  readonly drop: number;
  readonly delayMs: number;
}

/** Delivers at once, later, twice or never. */
export type Chaos = (deliver: () => void) => void;

export const noChaos: Chaos = (deliver) => deliver();

/** A chaos that does the same to the same sequence of messages. */
export function createChaos(options: ChaosOptions, clock: TimerClock): Chaos {
  const random = seededRandom(options.seed);
  const once = (deliver: () => void) => {
    // Both are always drawn, so that one share does not shift the draws of another.
    const [held, delay] = [random() < options.reorder, random() * options.delayMs];
    if (held) clock.after(delay, deliver);
    else deliver();
  };
  return (deliver) => {
    const [dropped, duplicated] = [random() < options.drop, random() < options.duplicate];
    if (!dropped) once(deliver);
    if (duplicated) once(deliver);
  };
}

/** A small generator of numbers in 0…1 (mulberry32): for tests, never for secrets. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
