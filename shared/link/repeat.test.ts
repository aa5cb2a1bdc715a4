import { describe, expect, it } from 'vitest';

import { Repeat, repeatMs } from './repeat.ts';

describe('what has no answer', () => {
  it('is said again after 2 s, then after twice as long each time, 30 s at most', () => {
    expect([1, 2, 3, 4, 5, 6, 1000].map(repeatMs)).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('is said until the answer came, and from the first interval when it is waited for anew', () => {
    const waits: number[] = [];
    let task: (() => void) | undefined;
    let said = 0;
    const schedule = (ms: number, next: () => void) => {
      waits.push(ms);
      task = next;
      return () => (task = undefined);
    };
    const repeat = new Repeat({ schedule }, () => (said += 1));
    repeat.start();
    repeat.start();
    task?.();
    task?.();
    expect([said, waits]).toEqual([2, [2_000, 4_000, 8_000]]);
    repeat.stop();
    expect(task).toBeUndefined();
    repeat.start();
    expect(waits.at(-1)).toBe(2_000);
  });
});
