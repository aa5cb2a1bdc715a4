import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FairleadError, messageOf } from '#shared/errors.ts';
import type { Io } from './io.ts';
import { parseYaml } from './output/format.ts';

/** The largest document taken from the standard input. */
const MAX_INPUT_BYTES = 1024 * 1024;

/**
 * Lets the user change a YAML document and hands each version to `save`. On a terminal in $VISUAL or $EDITOR, again after a mistake, so that
 * no typing is lost; else the new document is the standard input.
 */
export async function edit(io: Io, document: string, save: (value: unknown) => Promise<void>): Promise<void> {
  if (!io.stdin.isTTY) return await save(await parseYaml(await readAll(io)));
  const directory = await mkdtemp(join(tmpdir(), 'fairlead-'));
  const file = join(directory, 'edit.yaml');
  try {
    await writeFile(file, document, { mode: 0o600 });
    let before = document;
    for (;;) {
      await openEditor(io, file);
      const after = await readFile(file, 'utf8');
      if (after === before) return;
      before = after;
      try {
        return await save(await parseYaml(after));
      } catch (error) {
        io.stderr.write(`${messageOf(error)}\nOpening the editor again: leave without a change to give up.\n`);
      }
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function readAll(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of io.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_INPUT_BYTES)
      throw new FairleadError('bad_request', 'The document on the standard input is larger than 1 MiB.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** $EDITOR may hold options ("code --wait"), as every shell tool lets it. */
async function openEditor(io: Io, file: string): Promise<void> {
  const editor = io.env['VISUAL'] || io.env['EDITOR'] || 'vi';
  const child = spawn('/bin/sh', ['-c', `${editor} "$1"`, editor, file], { stdio: 'inherit' });
  await new Promise<void>((resolve, reject) => {
    const failed = (why: string) =>
      reject(new FairleadError('bad_config', `The editor "${editor}" failed (${why}). Set EDITOR to one that works.`));
    child.on('error', (error) => failed(error.message));
    child.on('close', (code) => (code === 0 ? resolve() : failed(`exit code ${code}`)));
  });
}
