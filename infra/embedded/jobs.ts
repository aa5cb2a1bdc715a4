import { FairleadError } from '#shared/errors.ts';
import type { Job, Jobs } from '../../functions/ports/jobs.ts';
import type { Log } from '../../functions/ports/ports.ts';
import { waitAtMost } from './bounded-wait.ts';
import type { TimerClock } from './clock.ts';

const SWEEP_EVERY_MS = 30_000;
/** Jobs that wait, for their turn or for their next attempt. */
const MAX_WAITING = 1000;
const MAX_RUNNING = 4;
const MAX_ATTEMPTS = 5;
const FIRST_RETRY_MS = 1000;
/** How long running jobs may go on after the stop. */
const STOP_MS = 5000;

export interface JobRunner extends Jobs {
  /** Begins to run jobs, and to sweep every half minute. */
  start(run: (job: Job) => Promise<void>, sweepRecords: () => Promise<unknown>): void;
  /** Starts nothing more; ends when what runs has ended, or after a few seconds. */
  stop(): Promise<void>;
}

/**
 * Asynchronous invocations in this process: at least once, retried up to five times with growing pauses. What waits here dies with the
 * process; the sweep asks again for work whose record says that it is not done.
 */
export function createJobs(clock: TimerClock, log: Log): JobRunner {
  const waiting: { readonly job: Job; readonly attempt: number }[] = [];
  const running = new Set<Promise<void>>();
  const timers = new Set<() => void>();
  let run: ((job: Job) => Promise<void>) | undefined;
  let stopped = false;

  const later = (ms: number, action: () => void) => {
    const cancel = clock.after(ms, () => {
      timers.delete(cancel);
      action();
    });
    timers.add(cancel);
  };
  const queue = (job: Job, attempt: number) => {
    waiting.push({ job, attempt });
    pump();
  };
  const pump = () => {
    if (run === undefined || stopped || running.size >= MAX_RUNNING) return;
    const next = waiting.shift();
    if (next === undefined) return;
    const done = attempt(run, next.job, next.attempt).finally(() => {
      running.delete(done);
      pump();
    });
    running.add(done);
    pump();
  };
  const attempt = async (run: (job: Job) => Promise<void>, job: Job, number: number): Promise<void> => {
    try {
      await run(job);
    } catch (error) {
      const last = number === MAX_ATTEMPTS;
      log.error(last ? 'a job failed for the last time' : 'a job failed and is tried again', {
        job,
        attempt: number,
        error,
      });
      if (!last) later(FIRST_RETRY_MS * 2 ** (number - 1), () => queue(job, number + 1));
    }
  };
  const sweep = async (run: (job: Job) => Promise<void>, sweepRecords: () => Promise<unknown>): Promise<void> => {
    try {
      await run({ kind: 'sweep' });
      await sweepRecords();
    } catch (error) {
      log.error('the sweep failed; it comes again', { error });
    }
  };

  return {
    enqueue: async (job) => {
      if (stopped || waiting.length + timers.size >= MAX_WAITING) {
        const why = stopped ? 'the control plane is stopping' : `${MAX_WAITING} jobs are waiting already`;
        throw new FairleadError('unavailable', `the work could not be queued: ${why}; try again in a moment`);
      }
      waiting.push({ job, attempt: 1 });
      // Later, so that nothing of the job runs within the call that asked for it.
      setImmediate(pump);
    },
    start: (runJob, sweepRecords) => {
      run = runJob;
      const tick = () => {
        const done = sweep(runJob, sweepRecords).finally(() => {
          running.delete(done);
          if (!stopped) later(SWEEP_EVERY_MS, tick);
        });
        running.add(done);
      };
      later(SWEEP_EVERY_MS, tick);
      pump();
    },
    stop: async () => {
      stopped = true;
      for (const cancel of timers) cancel();
      await waitAtMost(Promise.all(running), STOP_MS);
    },
  };
}
