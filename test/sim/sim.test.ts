import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { simulate } from './scenario.ts';

const SEEDS = 300;
/** Together, also on a machine that does other things. */
const TIMEOUT_MS = 180_000;

/** Seeds that once broke something; each file says what. */
const kept = readdirSync(new URL('seeds/', import.meta.url)).map((name) => Number.parseInt(name, 10));

describe('the simulator', () => {
  it('does the same for the same seed', async () => {
    const trace: string[] = [];
    const first = await simulate(7);
    const second = await simulate(7, { trace: (line) => trace.push(line) });
    expect(second.digest).toBe(first.digest);
    expect(trace.length).toBeGreaterThan(100);
    expect((await simulate(8)).digest).not.toBe(first.digest);
  });

  it.each(kept)('holds with seed %i, which once broke something', { timeout: TIMEOUT_MS }, async (seed) => {
    expect((await simulate(seed)).violation?.message).toBeUndefined();
  });

  it(`finds nothing lost, stale or done twice in ${SEEDS} seeds`, { timeout: TIMEOUT_MS }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violation } = await simulate(seed);
      expect(violation?.message, `npm run sim -- --seed ${seed}`).toBeUndefined();
    }
  });
});
