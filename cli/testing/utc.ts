import { afterAll, beforeAll } from 'vitest';

/** Makes the tests of this file run in UTC, wherever the machine stands. */
export function useUtc(): void {
  const before = process.env['TZ'];
  beforeAll(() => void (process.env['TZ'] = 'UTC'));
  afterAll(() => {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  });
}
