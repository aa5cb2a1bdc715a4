import { join } from 'node:path';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { fingerprint } from '#shared/link/commands.ts';
import { realDisk, type Disk } from '../disk.ts';
import { readIfThere, removeDurably, writeDurably } from '../durable.ts';

/** Proof that this disk is the newest copy of itself: the edge hands out a new one on each connection (clone detection). */
const instanceSecret = z.object({ generation: z.int().positive(), value: z.string().min(1).max(128) });

const hostRecord = z.object({
  hostId: z.string().min(1).max(64),
  name: z.string().min(1).max(63),
  url: z.url({ protocol: /^https?$/ }),
  /** SHA-256 of the control plane's certificate when the join token pinned it. */
  pin: fingerprint.optional(),
  secret: instanceSecret,
});
/** Who this host is, and to whom it belongs. */
export type HostRecord = z.infer<typeof hostRecord>;

/**
 * Loads the record; undefined on a host that has not joined.
 * @throws FairleadError `internal` for a damaged file
 */
export async function loadRecord(stateDir: string, disk: Disk = realDisk): Promise<HostRecord | undefined> {
  const path = recordPath(stateDir);
  const text = await readIfThere(path, disk);
  if (text === undefined) return undefined;
  try {
    return hostRecord.parse(JSON.parse(text));
  } catch (cause) {
    throw new FairleadError(
      'internal',
      `${path} is damaged, so the connector does not know which fleet it belongs to. Restore it from a backup, or run "fairlead-connector leave --force" and join again.`,
      { cause },
    );
  }
}

/** Writes the record so that it survives a crash; whoever gets a new instance secret calls this before anything else. */
export async function saveRecord(stateDir: string, record: HostRecord, disk: Disk = realDisk): Promise<void> {
  await writeDurably(recordPath(stateDir), `${JSON.stringify(record, null, 2)}\n`, 0o600, disk);
}

/** Forgets key and record. Containers are not touched. */
export async function forgetIdentity(stateDir: string): Promise<void> {
  await removeDurably(join(stateDir, 'identity'));
}

function recordPath(stateDir: string): string {
  return join(stateDir, 'identity', 'host.json');
}
