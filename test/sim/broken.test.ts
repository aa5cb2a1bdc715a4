import { describe, expect, it } from 'vitest';

import { forgetsCondition, skipsDedupe, skipsJournal } from './broken.ts';
import { simulate } from './scenario.ts';

const SEEDS = 500;
const TIMEOUT_MS = 180_000;

describe('the simulator notices a build', () => {
  it.each([
    ['that acts on a command as often as it comes', skipsJournal, /^I6 at most once/],
    ['that takes what it heard before for news', skipsDedupe, /^the registry is true/],
    [
      'that writes an instance whatever was written in between',
      forgetsCondition,
      /^(one intent an instance|I5 no lock)/,
    ],
  ])('%s', { timeout: TIMEOUT_MS }, async (_, build, broken) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violation } = await simulate(seed, { build });
      if (violation && broken.test(violation.message)) return;
    }
    expect.fail(`not within ${SEEDS} seeds`);
  });
});
