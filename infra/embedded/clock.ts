import type { Clock } from '../../functions/ports/ports.ts';

/** A clock that can also call back; what waits with `after` does not keep the process alive. */
export interface TimerClock extends Clock {
  /** Runs `action` once, in `ms`; the result calls it off. */
  after(ms: number, action: () => void): () => void;
}

/** The machine's clock; with `scale` 1000 a second of it passes in a millisecond (tests of minutes and hours). */
export function systemClock(scale = 1): TimerClock {
  const start = Date.now();
  const origin = performance.now();
  return {
    now: () => (scale === 1 ? Date.now() : Math.round(start + (performance.now() - origin) * scale)),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms / scale)),
    after: (ms, action) => {
      const timer = setTimeout(action, ms / scale);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}
