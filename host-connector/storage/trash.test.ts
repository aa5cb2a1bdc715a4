import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run, type Run } from '../process.ts';
import { openTrash } from './trash.ts';

let folder: string;
let ids = 0;
const at = (...names: string[]) => join(folder, ...names);
const trash = (runner: Run = run) => openTrash(at('.trash'), { run: runner, newId: () => `t${ids++}` });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trash-'));
  await mkdir(at('tree', 'deep'), { recursive: true });
  await writeFile(at('precious'), 'kept');
  await symlink(at('precious'), at('tree', 'link'));
  await symlink(folder, at('tree', 'deep', 'loop'));
});
afterEach(async () => rm(folder, { recursive: true }));

describe('the trash', () => {
  it('deletes a tree and follows no link out of it', async () => {
    await trash().discard(at('tree'));
    expect(existsSync(at('tree'))).toBe(false);
    expect(await readFile(at('precious'), 'utf8')).toBe('kept');
    expect(await trash().sweep()).toBe(0);
  });

  it('deletes a link itself, not what it leads to', async () => {
    await symlink(at('tree'), at('alias'));
    await trash().discard(at('alias'));
    expect(existsSync(at('tree', 'deep'))).toBe(true);
  });

  it('takes what is not there for deleted', async () => {
    await expect(trash().discard(at('nothing'))).resolves.toBeUndefined();
  });

  it('sweeps what a crash left', async () => {
    const crash: Run = async () => {
      throw new Error('crashed before deleting');
    };
    await expect(trash(crash).discard(at('tree'))).rejects.toThrow(/crashed/);
    expect(existsSync(at('tree'))).toBe(false);
    expect(await trash().sweep()).toBe(1);
    expect(await trash().sweep()).toBe(0);
    expect(await readFile(at('precious'), 'utf8')).toBe('kept');
  });
});
