import { BACKOFF_MAX_MS, BACKOFF_MIN_MS } from '#shared/link/limits.ts';

/**
 * Full jitter: how long to wait before attempt `attempt` (the first is 1), so that a fleet that was cut at once does not come back at once.
 * @param random a number in [0, 1)
 * @param mostMs never longer than this
 * @returns milliseconds, BACKOFF_MIN_MS to BACKOFF_MAX_MS
 */
export function backoffMs(attempt: number, random: number, mostMs = BACKOFF_MAX_MS): number {
  const ceiling = Math.min(mostMs, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 30));
  return Math.round(BACKOFF_MIN_MS + random * (ceiling - BACKOFF_MIN_MS));
}
