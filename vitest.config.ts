import { defineConfig } from 'vitest/config';

/** Unit and property tests beside their source; the lab's tests have a configuration of their own. */
export default defineConfig({
  test: {
    include: ['{shared,functions,host-connector,cli,infra,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/e2e/**'],
    isolate: false,
    testTimeout: 20_000,
  },
});
