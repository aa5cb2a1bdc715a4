import type { TimerClock } from './clock.ts';
import type { Invocations } from './invocations.ts';
import type { TokenBucket } from './token-bucket.ts';

/** What tests do to messages and invocations. Shares are 0…1 and drawn from the seed; what is left out does not happen. */
export interface ChaosOptions {
  readonly seed: number;
  /** Share of messages, either way, that are held back up to `delayMs`, so that others pass them. */
  readonly reorder?: number;
  readonly duplicate?: number;
  readonly drop?: number;
  readonly delayMs?: number;
  /** Share of `$disconnect` events that never come; the others come up to `delayMs` late. */
  readonly lostDisconnects?: number;
  /** Share of invocations that begin up to `coldStartMs` late. */
  readonly coldStart?: number;
  readonly coldStartMs?: number;
  /** Share of requests, messages and posts that are refused as too many. */
  readonly throttle?: number;
}

export interface Chaos {
  /** Delivers a message at once, later, twice or never. */
  message(deliver: () => void): void;
  /** Tells at once, later or never that a connection has ended. */
  disconnect(tell: () => void): void;
  /** Takes a token from the bucket, or refuses as if there were none. */
  throttled(bucket: TokenBucket): TokenBucket;
  /** Begins some invocations late. */
  cold(invocations: Invocations): Invocations;
}

export const noChaos: Chaos = {
  message: (deliver) => deliver(),
  disconnect: (tell) => tell(),
  throttled: (bucket) => bucket,
  cold: (invocations) => invocations,
};

/** A chaos that does the same to the same sequence of calls. */
export function createChaos(options: ChaosOptions, clock: TimerClock): Chaos {
  const { seed, reorder = 0, duplicate = 0, drop = 0, delayMs = 0 } = options;
  const { lostDisconnects = 0, coldStart = 0, coldStartMs = 0, throttle = 0 } = options;
  // Each kind draws from numbers of its own, so that more of one does not change the others.
  const [messages, ends, throttles, starts] = [seed, seed + 1, seed + 2, seed + 3].map(seededRandom) as Draws;
  const once = (deliver: () => void) => {
    // Both are always drawn, so that one share does not shift the draws of another.
    const [held, delay] = [messages() < reorder, messages() * delayMs];
    if (held) clock.after(delay, deliver);
    else deliver();
  };
  return {
    message: (deliver) => {
      const [dropped, duplicated] = [messages() < drop, messages() < duplicate];
      if (!dropped) once(deliver);
      if (duplicated) once(deliver);
    },
    disconnect: (tell) => {
      const [lost, delay] = [ends() < lostDisconnects, ends() * delayMs];
      if (!lost) clock.after(delay, tell);
    },
    throttled: (bucket) => () => throttles() >= throttle && bucket(),
    cold: (invocations) => ({
      ...invocations,
      invoke: async (run) => {
        const [late, delay] = [starts() < coldStart, starts() * coldStartMs];
        return invocations.invoke(late ? () => clock.sleep(delay).then(run) : run);
      },
    }),
  };
}

type Draws = [() => number, () => number, () => number, () => number];

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
