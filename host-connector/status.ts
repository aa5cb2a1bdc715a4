import { join } from 'node:path';
import { z } from 'zod';

import { readIfThere, writeDurably } from './durable.ts';

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

/** Replaces the status. */
export async function writeStatus(stateDir: string, now: ConnectorStatus): Promise<void> {
  await writeDurably(join(stateDir, 'status.json'), JSON.stringify(now));
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
