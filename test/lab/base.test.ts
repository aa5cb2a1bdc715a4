import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { buildOnce, debianMirror, findDebianMirror } from './base.ts';

describe("the mirror from apt's sources", () => {
  it('is found in the deb822 format', () => {
    const sources = 'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n';
    expect(findDebianMirror(sources)).toBe('http://mirror.example/debian');
  });

  it('is found in the one-line format, with and without options', () => {
    expect(findDebianMirror('deb http://m.example/debian/ trixie main')).toBe('http://m.example/debian/');
    expect(findDebianMirror('deb [signed-by=/k.gpg] https://m.example/debian sid main')).toBe(
      'https://m.example/debian',
    );
  });

  it('is neither the security archive nor another vendor', () => {
    const others = ['URIs: http://m.example/debian-security', 'deb https://packages.example/node nodistro main'];
    expect(findDebianMirror([...others, 'deb http://u.example/ubuntu noble main'].join('\n'))).toBeUndefined();
  });

  it('can be overridden', async () => {
    const mine = 'http://mine.example/debian';
    expect(await debianMirror({ FAIRLEAD_DEBIAN_MIRROR: mine })).toBe(mine);
  });
});

describe('building once', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-cache-'));
    vi.stubEnv('FAIRLEAD_CACHE', join(folder, 'cache'));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  async function recipe(...lines: string[]): Promise<string> {
    const path = join(folder, 'recipe.sh');
    await writeFile(path, ['[ -e "$1" ] && exit 0', ...lines].join('\n'));
    return path;
  }

  it('runs a recipe once, however many ask at once, and again when the recipe changes', async () => {
    const log = join(folder, 'log');
    const first = { kind: 'thing', recipe: await recipe('echo ran >> "$2"', 'sleep 0.1', ': > "$1"'), args: [log] };
    const outs = await Promise.all([buildOnce(first), buildOnce(first), buildOnce(first)]);
    expect(new Set(outs).size).toBe(1);
    expect(await readFile(log, 'utf8')).toBe('ran\n');
    const changed = { ...first, recipe: await recipe('echo ran again >> "$2"', ': > "$1"') };
    expect(await buildOnce(changed)).not.toBe(outs[0]);
    expect(await readFile(log, 'utf8')).toBe('ran\nran again\n');
  });

  it('tells why a recipe failed, and keeps nothing of it', async () => {
    const failing = { kind: 'thing', recipe: await recipe('echo "no such suite" >&2', 'exit 3'), args: [] };
    await expect(buildOnce(failing)).rejects.toThrow(/thing was not built.*no such suite/s);
    expect((await readdir(join(folder, 'cache'))).filter((name) => !name.endsWith('.lock'))).toEqual([]);
  });
});
