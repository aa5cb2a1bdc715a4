import { describe, expect, it } from 'vitest';

import type { Job } from '../../functions/ports/jobs.ts';
import { systemClock } from './clock.ts';
import { createJobs } from './jobs.ts';
import { createLog } from './log.ts';

const SCALE = 200;
/** Timers of Node may come a millisecond early. */
const EARLY = 2 * SCALE;
const INGEST = { kind: 'ingest', project: 'default', operation: 'o' } as const;
const nothing = async () => {};

function jobs() {
  const lines: string[] = [];
  const clock = systemClock(SCALE);
  const runner = createJobs(clock, createLog({ clock, write: (line) => lines.push(line) }));
  return { runner, lines, clock };
}

describe('jobs', () => {
  it('do not begin within the call that asks for them', async () => {
    const { runner } = jobs();
    let began = false;
    runner.start(async () => void (began = true), nothing);
    await runner.enqueue(INGEST);
    expect(began).toBe(false);
    await expect.poll(() => began).toBe(true);
    await runner.stop();
  });

  it('run after enqueue has answered, also those that came before the start', async () => {
    const { runner } = jobs();
    const ran: Job[] = [];
    await runner.enqueue(INGEST);
    runner.start(async (job) => void ran.push(job), nothing);
    await runner.enqueue(INGEST);
    await expect.poll(() => ran.length).toBe(2);
    await runner.stop();
  });

  it('are tried five times, ever later, then given up with a word in the log', async () => {
    const { runner, lines, clock } = jobs();
    const at: number[] = [];
    runner.start(async (job) => {
      if (job.kind === 'sweep') return;
      at.push(clock.now());
      throw new Error('no');
    }, nothing);
    await runner.enqueue(INGEST);
    await expect.poll(() => lines.filter((line) => line.includes('for the last time')).length).toBe(1);
    expect(at).toHaveLength(5);
    const pauses = at.slice(1).map((time, index) => time - at[index]!);
    for (const [index, pause] of pauses.entries()) expect(pause).toBeGreaterThanOrEqual(1000 * 2 ** index - EARLY);
    await runner.stop();
  });

  it('sweep every half minute, never twice at once, and go on after a failure', async () => {
    const { runner, lines, clock } = jobs();
    const at: number[] = [];
    let now = 0;
    let most = 0;
    let records = 0;
    runner.start(
      async () => {
        most = Math.max(most, (now += 1));
        at.push(clock.now());
        await clock.sleep(50_000);
        now -= 1;
        if (at.length === 1) throw new Error('no');
      },
      async () => void (records += 1),
    );
    await expect.poll(() => at.length, { timeout: 5000 }).toBe(3);
    await runner.stop();
    expect(most).toBe(1);
    expect(records).toBe(2);
    expect(lines.join('')).toContain('the sweep failed');
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(80_000 - 2 * EARLY);
  });

  it('are bounded in number', async () => {
    const { runner } = jobs();
    for (let n = 0; n < 1000; n += 1) await runner.enqueue(INGEST);
    await expect(runner.enqueue(INGEST)).rejects.toMatchObject({ code: 'unavailable' });
    await runner.stop();
  });

  it('at most four at once; stop waits for them and begins no other', async () => {
    const { runner, clock } = jobs();
    let now = 0;
    let most = 0;
    let ended = 0;
    runner.start(async () => {
      most = Math.max(most, (now += 1));
      await clock.sleep(20_000);
      now -= 1;
      ended += 1;
    }, nothing);
    for (let n = 0; n < 10; n += 1) await runner.enqueue(INGEST);
    await expect.poll(() => now).toBe(4);
    await runner.stop();
    expect([most, ended, now]).toEqual([4, 4, 0]);
    await expect(runner.enqueue(INGEST)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
