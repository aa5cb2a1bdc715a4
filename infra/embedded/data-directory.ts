import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { makePrivateDirectory } from './durable-file.ts';

/** A data directory that is ours until `release`, or until the process dies. */
export interface DataDirectory {
  readonly path: string;
  release(): void;
}

/**
 * Takes a data directory (made with mode 0700) for this process alone. The lock is the kernel's, held through SQLite: it ends with the
 * process, however that ends.
 * @throws FairleadError `busy` when another process has it.
 */
export function claimDataDirectory(path: string): DataDirectory {
  makePrivateDirectory(path);
  const file = join(path, 'lock');
  closeSync(openSync(file, 'a', 0o600));
  const lock = new DatabaseSync(file);
  try {
    lock.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    if (!/locked/.test(messageOf(cause))) throw cause;
    throw new FairleadError(
      'busy',
      `another Fairlead runs on the data directory ${path}; stop it, or choose another directory with --data`,
      { cause },
    );
  }
  return { path, release: () => lock.close() };
}
