import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** Plain JavaScript without declarations, because it must run before any package is there. */
interface Setup {
  staleNodePackages(project: string): string | undefined;
  ensureNodePackages(options: { project: string; say: (line: string) => void }): { ok: boolean };
}
const setup = (await import(new URL('packages.mjs', import.meta.url).href)) as Setup;

describe('whether node_modules matches the lock file', () => {
  let project: string;

  beforeEach(async () => {
    project = await mkdtemp(join(tmpdir(), 'fairlead-setup-'));
    await writeFile(join(project, 'package.json'), '{"name":"p","version":"1.0.0"}');
    await lock('package-lock.json', {
      '': {},
      'node_modules/a': { version: '1.0.0' },
      'node_modules/b': { version: '1.0.0', optional: true },
    });
  });
  afterEach(() => rm(project, { recursive: true }));

  async function lock(path: string, packages: object): Promise<void> {
    await mkdir(join(project, 'node_modules'), { recursive: true });
    await writeFile(join(project, path), JSON.stringify({ name: 'p', version: '1.0.0', lockfileVersion: 3, packages }));
  }

  it('is stale when nothing is installed', () => {
    expect(setup.staleNodePackages(project)).toBe('node_modules is missing');
  });

  it('is fresh when all is at its version, though optional packages of other platforms are absent', async () => {
    await lock('node_modules/.package-lock.json', { 'node_modules/a': { version: '1.0.0' } });
    expect(setup.staleNodePackages(project)).toBeUndefined();
  });

  it('is stale when a package is absent or at another version', async () => {
    await lock('node_modules/.package-lock.json', { 'node_modules/a': { version: '0.9.0' } });
    expect(setup.staleNodePackages(project)).toContain('node_modules/a');
    await lock('node_modules/.package-lock.json', {});
    expect(setup.staleNodePackages(project)).toContain('node_modules/a');
  });

  it('runs npm ci and says so first', async () => {
    await lock('package-lock.json', { '': { name: 'p', version: '1.0.0' } });
    const said: string[] = [];
    expect(setup.ensureNodePackages({ project, say: (line) => said.push(line) })).toMatchObject({ ok: true });
    expect(said).toEqual([expect.stringContaining('npm ci')]);
  });
});
