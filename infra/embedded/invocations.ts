import { FairleadError } from '#shared/errors.ts';
import type { TimerClock } from './clock.ts';

/** Invocations that wait for their turn; more are refused. */
const MAX_WAITING = 5000;

/** Runs functions as Lambda would: so many at once, and nobody waits longer than the integration timeout. */
export interface Invocations {
  /** @throws FairleadError `timed_out` when it takes too long (it goes on unseen), `rate_limited` when too many wait. */
  invoke<T>(run: () => Promise<T>): Promise<T>;
  /** Ends when nothing runs any more. */
  idle(): Promise<void>;
}

/** Makes an {@link Invocations} with room for `limit` at once. */
export function createInvocations(limit: number, timeoutMs: number, clock: TimerClock): Invocations {
  const waiting: (() => void)[] = [];
  const whenIdle: (() => void)[] = [];
  let slots = limit;
  let unfinished = 0;

  const release = () => {
    const next = waiting.shift();
    if (next === undefined) slots += 1;
    else next();
  };
  const acquire = async () => {
    if (slots > 0) {
      slots -= 1;
      return;
    }
    if (waiting.length >= MAX_WAITING) {
      throw new FairleadError(
        'rate_limited',
        'the control plane has more work than it can hold; try again in a moment',
      );
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const finish = () => {
    unfinished -= 1;
    if (unfinished === 0) for (const done of whenIdle.splice(0)) done();
  };

  return {
    invoke: async (run) => {
      unfinished += 1;
      try {
        await acquire();
      } catch (error) {
        finish();
        throw error;
      }
      const work = run().finally(finish);
      return withTimeout(work, timeoutMs, clock).finally(release);
    },
    idle: () => (unfinished === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
  };
}

function withTimeout<T>(work: Promise<T>, timeoutMs: number, clock: TimerClock): Promise<T> {
  if (timeoutMs === Infinity) return work;
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => {
      reject(
        new FairleadError(
          'timed_out',
          `the control plane took longer than ${timeoutMs / 1000} s; see whether the work was done before you repeat it`,
        ),
      );
    });
    work.then(resolve, reject).finally(cancel);
  });
}
