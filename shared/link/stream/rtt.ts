/** Retransmission timing: RFC 6298, with the cap and floor of an interactive link, and a time threshold for early loss detection. */

/** Timeout before the first round trip was measured. */
export const RTO_INITIAL_MS = 1_000;
export const RTO_MIN_MS = 200;
export const RTO_MAX_MS = 5_000;

/** Smoothed round trip, its mean deviation, and how often the timeout was doubled since the last progress. */
export interface Rtt {
  readonly smoothed: number | undefined;
  readonly deviation: number;
  readonly doublings: number;
}

/** Timing of a path nothing is known about. */
export const UNKNOWN_RTT: Rtt = { smoothed: undefined, deviation: 0, doublings: 0 };

/**
 * Folds in one measured round trip in ms (RFC 6298 §2.2, §2.3), of about `perRoundTrip` that are taken: without sharing out the gains among them,
 * the estimate would forget within a fraction of a round trip (RFC 7323 appendix G). Never give it one of a message sent twice (Karn).
 */
export function measured(rtt: Rtt, sample: number, perRoundTrip: number): Rtt {
  if (rtt.smoothed === undefined) return { ...rtt, smoothed: sample, deviation: sample / 2 };
  const share = 1 / Math.max(1, perRoundTrip);
  const deviation = rtt.deviation + (share / 4) * (Math.abs(rtt.smoothed - sample) - rtt.deviation);
  return { ...rtt, smoothed: rtt.smoothed + (share / 8) * (sample - rtt.smoothed), deviation };
}

/** The timing after a timeout: doubled. */
export function timedOut(rtt: Rtt): Rtt {
  return timeoutOf(rtt) >= RTO_MAX_MS ? rtt : { ...rtt, doublings: rtt.doublings + 1 };
}

/** The timing after the peer acknowledged something new: no longer doubled. */
export function progressed(rtt: Rtt): Rtt {
  return rtt.doublings === 0 ? rtt : { ...rtt, doublings: 0 };
}

/** Milliseconds after which an unacknowledged message is sent again. */
export function timeoutOf(rtt: Rtt): number {
  const base = rtt.smoothed === undefined ? RTO_INITIAL_MS : Math.max(RTO_MIN_MS, rtt.smoothed + 4 * rtt.deviation);
  return Math.min(RTO_MAX_MS, base * 2 ** rtt.doublings);
}

/**
 * Milliseconds after which a message that later ones have overtaken counts as lost. On this link overtaking is the normal case and says nothing
 * alone; being later than nearly every round trip does (RACK, RFC 8985, with the measured deviation as reordering window).
 */
export function overtakenTimeoutOf(rtt: Rtt): number {
  if (rtt.smoothed === undefined) return RTO_INITIAL_MS;
  return rtt.smoothed + Math.max(rtt.smoothed / 4, 4 * rtt.deviation);
}
