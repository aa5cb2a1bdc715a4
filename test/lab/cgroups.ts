/** A virtual host's own cgroup in every hierarchy of the machine, so that two hosts may use the same container names. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FairleadError } from '#shared/errors.ts';

const ROOT = '/sys/fs/cgroup';
const V1 = ['cpuset', 'cpu', 'cpuacct', 'blkio', 'memory', 'devices', 'freezer', 'pids', 'systemd', 'unified'];
const EMPTYING_ROUNDS = 200;
const EMPTYING_PAUSE_MS = 25;

/** `hybrid`: version 1 controllers beside an (almost) empty version 2; `unified`: version 2 only. */
export type CgroupMode = 'hybrid' | 'unified';

/** How this machine does cgroups. */
export function machineCgroups(): CgroupMode {
  return existsSync(join(ROOT, 'cgroup.controllers')) ? 'unified' : 'hybrid';
}

/** Makes the cgroup `name` in every hierarchy; answers with its folders. */
export async function makeCgroups(name: string): Promise<string[]> {
  const roots = machineCgroups() === 'unified' ? [ROOT] : V1.map((kind) => join(ROOT, kind)).filter(existsSync);
  for (const root of roots) {
    await mkdir(join(root, name), { recursive: true });
    if (existsSync(join(root, name, 'cpuset.cpus')) && !root.endsWith('unified')) await openCpuset(root, name);
    // liblxc 6.0.4 builds a broken criu command line when the cgroup2 tree offers no controller at all.
    if (existsSync(join(root, 'cgroup.subtree_control'))) await handDown(root);
  }
  return roots.map((root) => join(root, name));
}

/** The folder a process joins to be in the host: cgroup2 alone wants processes in leaves (host-init.sh makes it). */
export function joinFolders(folders: readonly string[]): string[] {
  return folders.map((folder) => (existsSync(join(folder, 'init')) ? join(folder, 'init') : folder));
}

/**
 * Kills whatever runs in the cgroups that `belongs` names, and removes them. Does nothing for those that are gone.
 * @throws FairleadError `busy` when a process does not die within five seconds
 */
export async function removeCgroups(belongs: (name: string) => boolean): Promise<void> {
  const roots = machineCgroups() === 'unified' ? [ROOT] : V1.map((kind) => join(ROOT, kind)).filter(existsSync);
  const found = await Promise.all(
    roots.map(async (root) => (await folders(root)).filter((name) => belongs(name)).map((name) => join(root, name))),
  );
  const tops = found.flat();
  for (let round = 0; round < EMPTYING_ROUNDS; round++) {
    const left = await Promise.all(tops.map(async (top) => !(await emptyAndRemove(top))));
    if (!left.includes(true)) return;
    await sleep(EMPTYING_PAUSE_MS);
  }
  throw new FairleadError('busy', `Processes in ${tops.join(', ')} do not die. Look at their cgroup.procs.`);
}

/** True once the whole tree is gone. */
async function emptyAndRemove(top: string): Promise<boolean> {
  for (const name of await folders(top)) await emptyAndRemove(join(top, name));
  for (const pid of await pidsIn(top)) kill(pid);
  // A container frozen by a dump dies only when it thaws.
  if (existsSync(join(top, 'freezer.state'))) await ignoringGone(writeFile(join(top, 'freezer.state'), 'THAWED'));
  return ignoringGone(rmdir(top));
}

async function openCpuset(root: string, name: string): Promise<void> {
  for (const key of ['cpuset.cpus', 'cpuset.mems']) {
    await writeFile(join(root, name, key), await readFile(join(root, key), 'utf8'));
  }
  await writeFile(join(root, name, 'cgroup.clone_children'), '1');
}

async function handDown(root: string): Promise<void> {
  const controllers = (await readFile(join(root, 'cgroup.controllers'), 'utf8')).trim();
  for (const controller of controllers.split(' ').filter(Boolean)) {
    await writeFile(join(root, 'cgroup.subtree_control'), `+${controller}`);
  }
}

async function folders(path: string): Promise<string[]> {
  if (!existsSync(path)) return [];
  const entries = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function pidsIn(folder: string): Promise<number[]> {
  const file = join(folder, 'cgroup.procs');
  return existsSync(file) ? (await readFile(file, 'utf8')).split('\n').filter(Boolean).map(Number) : [];
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** True when the effect happened or its object was already gone; false when something still lives in it. */
async function ignoringGone(effect: Promise<void>): Promise<boolean> {
  try {
    await effect;
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENODEV') return true;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false;
    throw error;
  }
}
