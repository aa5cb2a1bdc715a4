import { defineConfig } from 'vitest/config';

/** The ports on AWS, against moto in the lab's base filesystem: as root. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/aws/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    // The first use builds the base filesystem.
    hookTimeout: 20 * 60_000,
  },
});
