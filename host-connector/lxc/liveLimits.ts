/** Changes the limits of a running container by writing its control group's files (lxc-cgroup takes a value of -1 for an option). */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError, messageOf } from '#shared/errors.ts';
import { groupFolder, type Cgroups } from './cgroup.ts';
import { changedFiles } from './limits.ts';

/** Lists are those of `limitFiles`; `pid` is any process inside. @throws FairleadError `host_failed` naming the file */
export async function applyLimits(
  target: { readonly id: string; readonly pid: number; readonly cgroups: Cgroups },
  old: ReadonlyMap<string, string>,
  next: ReadonlyMap<string, string>,
): Promise<void> {
  const procCgroup = await readFile(`/proc/${target.pid}/cgroup`, 'utf8');
  for (const [file, value] of changedFiles(old, next)) {
    const controller = file.slice(0, file.indexOf('.'));
    const folder = groupFolder(target.cgroups, procCgroup, target.id, controller);
    if (folder === undefined) throw notApplied(file, value, `this host has no cgroup controller "${controller}"`);
    try {
      await writeFile(join(folder, file), value);
    } catch (error) {
      throw notApplied(file, value, messageOf(error), error);
    }
  }
}

function notApplied(file: string, value: string, why: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'host_failed',
    `${file} could not be set to ${value} while the instance runs: ${why}. The new limit holds from its next start`,
    { cause },
  );
}
