/** Which labs exist: a folder each, named by the lab's number, holding who owns it and (below) its hosts' disks. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';
import { removeCgroups } from './cgroups.ts';
import { listNetns } from './netns.ts';
import { namesOf } from './network.ts';
import { run } from './run.ts';

const LABS = '/var/lib/fairlead-lab';
const MAX_LABS = 250;

/** A process, told apart from a later one with the same pid. */
interface Owner {
  pid: number;
  started: string;
}

export interface LabRecord {
  name: string;
  id: number;
  hosts: number;
  disk?: string;
  /** The process that takes the lab down; null for a lab that is kept until somebody says `down`. */
  owner: Owner | null;
}

/** Folder of the lab with this number. */
export function labFolder(id: number): string {
  return join(LABS, String(id));
}

/** Folder of one host of a lab. */
export function hostFolder(id: number, host: number): string {
  return join(labFolder(id), `host${host}`);
}

/** Takes the first free number. The folder appears whole, by a rename, so nobody sees a lab without an owner. */
export async function claim(lab: Pick<LabRecord, 'name' | 'hosts' | 'disk'> & { keep?: boolean }): Promise<LabRecord> {
  const { keep = false, ...wanted } = lab;
  const fresh = join(LABS, `.new-${process.pid}-${process.hrtime.bigint()}`);
  await mkdir(fresh, { recursive: true });
  for (let id = 1; id <= MAX_LABS; id++) {
    const record = { ...wanted, id, owner: keep ? null : thisProcess() };
    await writeFile(join(fresh, 'lab.json'), JSON.stringify(record));
    if (!existsSync(labFolder(id)) && (await renamed(fresh, labFolder(id)))) return record;
  }
  await rm(fresh, { recursive: true });
  throw new FairleadError('unavailable', `All ${MAX_LABS} lab numbers are taken: run "node test/lab/main.ts sweep".`);
}

/** All labs of this machine. */
export async function listLabs(): Promise<LabRecord[]> {
  if (!existsSync(LABS)) return [];
  const ids = (await readdir(LABS)).map(Number).filter(Number.isInteger);
  const records = await Promise.all(ids.map(readRecord));
  return records.filter((record) => record !== undefined).sort((a, b) => a.id - b.id);
}

/** Ends and removes everything of one lab. Does nothing for what is already gone, so it may be called again at any time. */
export async function removeLab(id: number): Promise<void> {
  const names = namesOf(id);
  await removeCgroups(names.belongs);
  if (existsSync(`/sys/class/net/${names.leg}`)) await run(['ip', 'link', 'del', names.leg]);
  for (const namespace of (await listNetns()).filter(names.belongs)) await run(['ip', 'netns', 'del', namespace]);
  // The number is free in one step, and only now that nothing bears it any more.
  const gone = join(LABS, `.gone-${process.pid}-${process.hrtime.bigint()}`);
  if (await renamed(labFolder(id), gone)) await rm(gone, { recursive: true, maxRetries: 3 });
}

/** Removes the labs whose owner is gone, and the remains of unfinished claims; answers with the names of those labs. */
export async function sweepLabs(): Promise<string[]> {
  const swept: string[] = [];
  for (const lab of await listLabs()) {
    if (isAbandoned(lab) && (await takeOver(lab.id))) {
      await removeLab(lab.id);
      swept.push(lab.name);
    }
  }
  const hidden = existsSync(LABS) ? (await readdir(LABS)).filter((name) => /^\.(new|gone)-/.test(name)) : [];
  for (const name of hidden.filter((name) => ownerOf(Number(name.split('-')[1])) === undefined)) {
    await rm(join(LABS, name), { recursive: true, force: true });
  }
  return swept;
}

/** Two sweeps must not remove the same lab: the slower one could hit a new lab that took the number. */
async function takeOver(id: number): Promise<boolean> {
  const mark = join(labFolder(id), 'sweeper');
  if (existsSync(mark) && isRunning(JSON.parse(readFileSync(mark, 'utf8')) as Owner)) return false;
  await rm(mark, { force: true });
  try {
    const file = await open(mark, 'wx');
    await file.writeFile(JSON.stringify(thisProcess()));
    await file.close();
  } catch (error) {
    if (['EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
  const now = await readRecord(id);
  if (now && isAbandoned(now)) return true;
  await rm(mark, { force: true });
  return false;
}

function isAbandoned(lab: LabRecord): boolean {
  return lab.owner !== null && !isRunning(lab.owner);
}

function isRunning(owner: Owner): boolean {
  return ownerOf(owner.pid)?.started === owner.started;
}

/** The running process with this pid; its start time in clock ticks is field 22 of proc(5) stat. */

function ownerOf(pid: number): Owner | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  const started = readFileSync(file, 'utf8').split(') ').at(-1)?.split(' ')[19];
  return started === undefined ? undefined : { pid, started };
}

function thisProcess(): Owner {
  const self = ownerOf(process.pid);
  if (self) return self;
  throw new FairleadError('internal', 'This process has no entry in /proc: is /proc mounted?');
}

async function readRecord(id: number): Promise<LabRecord | undefined> {
  const file = join(labFolder(id), 'lab.json');
  return existsSync(file) ? (JSON.parse(await readFile(file, 'utf8')) as LabRecord) : undefined;
}

async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
