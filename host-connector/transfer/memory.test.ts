import { mkdtemp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compressed } from './framing.ts';
import { packMemory, unpackMemory } from './memory.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fl-memory-'));
  for (const name of ['from', 'to']) await mkdir(join(folder, name));
});
afterEach(() => rm(folder, { recursive: true }));

async function* from(...parts: string[]): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (const part of parts) yield Buffer.from(part);
}

describe('memory as a stream', () => {
  it('brings every file but logs, empty ones too, readable to the container', async () => {
    const pages = Buffer.alloc(700_000, 'pages');
    await writeFile(join(folder, 'from', 'pages-1.img'), pages);
    await writeFile(join(folder, 'from', 'fl-route6'), '');
    await writeFile(join(folder, 'from', 'dump.log'), 'noise');
    await unpackMemory(join(folder, 'to'), await packMemory(join(folder, 'from')));
    expect(await readdir(join(folder, 'to'))).toEqual(['fl-route6', 'pages-1.img']);
    expect(await readFile(join(folder, 'to', 'pages-1.img'))).toEqual(pages);
    expect((await stat(join(folder, 'to', 'pages-1.img'))).mode & 0o777).toBe(0o644);
  });

  it('with a name that leads elsewhere, or more or fewer bytes than it names, is refused', async () => {
    const head = (name: string, size: number): string => `${JSON.stringify({ v: 1, files: [{ name, size }] })}\n`;
    for (const parts of [
      [head('../x', 1), 'a'],
      [head('.hidden', 1), 'a'],
      [head('x', 1), 'ab'],
      [head('x', 3), 'ab'],
      ['{}'],
    ]) {
      const to = await mkdtemp(join(folder, 'to-'));
      await expect(unpackMemory(to, compressed(from(...parts)))).rejects.toThrow();
    }
    expect((await readdir(folder)).filter((name) => name === 'x')).toEqual([]);
  });
});
