import { defineConfig } from 'vitest/config';

/** Unit and property tests beside their source; the tests that need the lab have configurations of their own. */
export default defineConfig({
  test: {
    include: ['{shared,functions,host-connector,cli,infra,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/e2e/**', 'test/aws/**'],
    isolate: false,
    testTimeout: 20_000,
  },
});
