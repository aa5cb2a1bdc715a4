import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterEach, describe, expect, it } from 'vitest';

const PROJECT = fileURLToPath(new URL('../', import.meta.url));
const OXLINT = join(PROJECT, 'node_modules/.bin/oxlint');
const made: string[] = [];

/** What the linter says about a file with this content at this place in the tree. */
async function lint(place: string, source: string): Promise<string> {
  const path = join(PROJECT, place);
  made.push(path);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, source);
  return oxlint(place);
}

/** The linter's report, whether it found anything or not. */
async function oxlint(place: string): Promise<string> {
  try {
    return (await promisify(execFile)(process.execPath, [OXLINT, place], { cwd: PROJECT })).stdout;
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

afterEach(async () => {
  for (const path of made.splice(0)) await rm(path);
});

describe('the linter holds the layers', () => {
  const forbidden: readonly (readonly [string, string, string])[] = [
    ['shared/lxd', "import '../../functions/create.ts';", 'shared/ imports nothing of ours'],
    ['shared/link', "import 'node:fs';", 'shared/ does no I/O'],
    ['shared/link', 'export const now = Date.now();', 'Date.now'],
    ['shared/link', 'setTimeout(() => {}, 1);', 'setTimeout'],
    ['functions/domain/hosts', "import '../../http/app.ts';", 'domain imports ports and shared only'],
    ['functions/domain/hosts', "import 'hono';", 'domain knows no transport'],
    ['functions/domain/hosts', "import 'node:fs/promises';", 'domain reaches outside through ports only'],
    ['functions/domain/hosts', "import 'node:timers/promises';", 'domain reaches outside through ports only'],
    ['functions/domain/hosts', 'export const luck = Math.random();', 'Math.random'],
    ['functions/domain/hosts', 'export const now = Date.now();', 'Date.now'],
    ['functions/http', "import '../../infra/embedded/up.ts';", 'functions import shared only'],
    ['functions/link', "import '../../host-connector/log.ts';", 'functions import shared only'],
    ['host-connector/link', "import '../../functions/create.ts';", 'the connector imports shared only'],
    ['cli/commands', "import '../../functions/create.ts';", 'the CLI speaks the public API only'],
  ];

  it.each(forbidden)('%s refuses %s', async (folder, source, message) => {
    expect(await lint(`${folder}/layer-probe.ts`, `${source}\n`)).toContain(message);
  });

  it('sees the files of every layer', async () => {
    for (const folder of ['shared', 'functions', 'host-connector', 'cli', 'infra', 'test']) {
      const files = (await readdir(join(PROJECT, folder), { recursive: true })).filter((file) => file.endsWith('.ts'));
      const seen = Number(/on (\d+) files/.exec(await oxlint(folder))?.[1]);
      expect(seen, folder).toBeGreaterThanOrEqual(files.length);
    }
  });
});
