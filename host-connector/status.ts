import { join } from 'node:path';
import * as z from 'zod';

import { messageOf } from '#shared/errors.ts';
import { readIfThere, removeDurably, replaceFile } from './durable.ts';
import type { Log } from './log.ts';
import { CONNECTOR_VERSION } from './version.ts';

/** What a running connector says of itself to `fairlead-connector status`, which only reads files. */
const status = z.object({
  pid: z.int().positive(),
  version: z.string(),
  startedAt: z.number(),
  /** Since when it is linked (milliseconds since 1970); absent while it is not. */
  linkedSince: z.number().optional(),
  /** Why it is not linked, as last told. */
  problem: z.string().optional(),
});
export type ConnectorStatus = z.infer<typeof status>;

/** The status file of this process, from its start to its end. */
export class StatusFile {
  readonly #path: string;
  readonly #log: Log;
  readonly #fixed = { pid: process.pid, version: CONNECTOR_VERSION, startedAt: Date.now() };
  /** One write after the other, so that the last one stays. */
  #writes: Promise<void> = Promise.resolve();

  constructor(stateDir: string, log: Log) {
    this.#path = join(stateDir, 'status.json');
    this.#log = log;
  }

  /** Says how it stands with the link. */
  tell(change: Pick<ConnectorStatus, 'linkedSince' | 'problem'>): void {
    this.#then(() => replaceFile(this.#path, JSON.stringify({ ...this.#fixed, ...change })));
  }

  /** Nothing runs any more. */
  async end(): Promise<void> {
    this.#then(() => removeDurably(this.#path));
    await this.#writes;
  }

  #then(work: () => Promise<void>): void {
    this.#writes = this.#writes
      .then(work)
      .catch((error: unknown) => this.#log('warn', `the status could not be written: ${messageOf(error)}`));
  }
}

/** The status of the connector that runs; undefined when none does. */
export async function readStatus(stateDir: string): Promise<ConnectorStatus | undefined> {
  const text = await readIfThere(join(stateDir, 'status.json'));
  if (text === undefined) return undefined;
  const read = status.safeParse(JSON.parse(text));
  return read.success && isAlive(read.data.pid) ? read.data : undefined;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
