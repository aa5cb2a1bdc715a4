/** Thawing and ending everything in a container's control group, on cgroup v1 and v2. */
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing, readIfThere } from '../durable.ts';

/** Lets everything in the group go on. A group that is gone is fine. */
export async function thaw(group: string): Promise<void> {
  const [file, word] = (await isV1(group)) ? ['freezer.state', 'THAWED'] : ['cgroup.freeze', '0'];
  await writeFile(join(group, file), word).catch(unlessGone);
}

/** True while the group is frozen. */
export async function isFrozen(group: string): Promise<boolean> {
  if (await isV1(group)) return (await readIfThere(join(group, 'freezer.state')))?.trim() !== 'THAWED';
  return /^frozen 1$/m.test((await readIfThere(join(group, 'cgroup.events'))) ?? '');
}

/** Kills everything in the group; frozen ones die on v1 when they are thawed, which this does, without a step of their own. */
export async function killAll(group: string): Promise<void> {
  if (!(await isV1(group))) {
    await writeFile(join(group, 'cgroup.kill'), '1').catch(unlessGone);
    return thaw(group);
  }
  for (const pid of await processes(group)) kill(pid);
  await thaw(group);
}

/** The processes of a group, without those of groups below it. */
export async function processes(group: string): Promise<number[]> {
  const text = (await readIfThere(join(group, 'cgroup.procs'))) ?? '';
  return text.split('\n').filter(Boolean).map(Number);
}

async function isV1(group: string): Promise<boolean> {
  return access(join(group, 'freezer.state')).then(
    () => true,
    () => false,
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function unlessGone(error: unknown): void {
  if (!isMissing(error) && (error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
}

/** When a process began, in ticks since boot: with its number it names it for good. Undefined when there is none. */
export async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie does nothing any more.
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}
