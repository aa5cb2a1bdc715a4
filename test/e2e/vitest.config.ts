import { defineConfig } from 'vitest/config';

import { MODE, PATIENCE, SEED } from '../lab/mode.ts';

if (MODE === 'chaos') console.log(`FAIRLEAD_E2E=chaos FAIRLEAD_SEED=${SEED}`);
// The workers draw the same.
process.env['FAIRLEAD_SEED'] = String(SEED);

/** Tests on virtual hosts: as root, one file at a time, because they share the machine's network and its two cores. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/e2e/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 120_000 * PATIENCE,
    // The first use builds the hosts' root filesystem.
    hookTimeout: 20 * 60_000,
  },
});
