import type { Clock } from '../../functions/ports/ports.ts';

/** Takes one token; false when there is none. */
export type TokenBucket = () => boolean;

/** A bucket that holds `burst` tokens and gets `perSecond` new ones. */
export function tokenBucket(perSecond: number, burst: number, clock: Pick<Clock, 'now'>): TokenBucket {
  let tokens = burst;
  let then = clock.now();
  return () => {
    const now = clock.now();
    // A clock that was set back takes nothing away.
    const passed = Math.max(0, now - then);
    then = now;
    if (perSecond === Infinity) return true;
    tokens = Math.min(burst, tokens + (passed * perSecond) / 1000);
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}
