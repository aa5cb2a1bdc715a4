import * as fc from 'fast-check';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConsoleLog, tailWithin } from './console.ts';

describe('the end of a console log', () => {
  it('is an end of the text that fits as JSON, and one character more would not', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.integer({ min: 2, max: 200 }), (text, bound) => {
        const tail = tailWithin(text, bound);
        expect(text.endsWith(tail)).toBe(true);
        expect(Buffer.byteLength(JSON.stringify(tail))).toBeLessThanOrEqual(bound);
        const longer = Array.from(text)
          .slice(-Array.from(tail).length - 1)
          .join('');
        if (tail !== text) expect(Buffer.byteLength(JSON.stringify(longer))).toBeGreaterThan(bound);
      }),
    );
  });
  it('is read from the end of the file and is empty when there is none', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'console-')), 'console.log');
    expect(await readConsoleLog(path)).toBe('');
    await writeFile(path, `${'\x1b'.repeat(100_000)}login: `);
    const tail = await readConsoleLog(path, 600);
    expect(tail.endsWith('\x1blogin: ')).toBe(true);
    expect(Buffer.byteLength(JSON.stringify(tail))).toBeLessThanOrEqual(600);
  });
});
