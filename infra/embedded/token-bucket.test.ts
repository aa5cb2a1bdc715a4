import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { tokenBucket } from './token-bucket.ts';

describe('a token bucket', () => {
  it('gives never more than the burst and what flowed in since, whatever the clock does', () => {
    const steps = fc.array(fc.record({ wait: fc.integer({ min: -5000, max: 5000 }), takes: fc.nat(30) }), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        steps,
        (perSecond, burst, steps) => {
          let now = 1_000_000;
          let forward = 0;
          let given = 0;
          const take = tokenBucket(perSecond, burst, { now: () => now });
          for (const { wait, takes } of steps) {
            now += wait;
            forward += Math.max(0, wait);
            for (let n = 0; n < takes; n += 1) given += take() ? 1 : 0;
          }
          expect(given).toBeLessThanOrEqual(burst + (forward * perSecond) / 1000 + 1e-6);
        },
      ),
    );
  });

  it('is full again after a pause, and not fuller', () => {
    let now = 0;
    const take = tokenBucket(10, 5, { now: () => now });
    const all = () => Array.from({ length: 10 }, take).filter(Boolean).length;
    expect([all(), all()]).toEqual([5, 0]);
    now += 200;
    expect(all()).toBe(2);
    now += 3_600_000;
    expect(all()).toBe(5);
  });
});
