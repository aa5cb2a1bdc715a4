/** Finds and signals the process that lxc-attach started inside a container. */
import { readFile, readlink } from 'node:fs/promises';
import { eventually } from './tools.ts';

/** The command appears a few milliseconds after lxc-attach; a signal that comes earlier waits for it. */
const APPEAR_TIMEOUT_MS = 1000;
const APPEAR_STEP_MS = 10;
/** A wrapper, lxc-attach, its helper, the command: never more generations than this. */
const MAX_GENERATIONS = 6;

/**
 * Sends a signal to the command below lxc-attach's (or its wrapper's) process. Not lxc-attach itself: that would end it
 * and leave the command running. False when there is no such command any more.
 */
export async function signalAttached(pid: number, signal: number): Promise<boolean> {
  const inside = await appearing(pid);
  return inside !== undefined && send(inside, signal);
}

/** The command below lxc-attach, once it is there; undefined when it does not come, or lxc-attach has ended. */
export async function appearing(pid: number): Promise<number | undefined> {
  let inside: number | undefined;
  const look = async (): Promise<boolean> => {
    inside = await attachedPid(pid);
    return inside !== undefined || !send(pid, 0);
  };
  await eventually(look, APPEAR_TIMEOUT_MS, APPEAR_STEP_MS);
  return inside;
}

/** The first descendant that lives in another pid namespace and has left the program lxc-attach behind. */
async function attachedPid(pid: number): Promise<number | undefined> {
  const ours = await linkOf('self', 'ns/pid');
  const attachProgram = await linkOf(pid, 'exe');
  let generation = [pid];
  for (let depth = 0; depth < MAX_GENERATIONS && generation.length > 0; depth++) {
    const next: number[] = [];
    for (const parent of generation) next.push(...(await childrenOf(parent)));
    for (const child of next) {
      const namespace = await linkOf(child, 'ns/pid');
      if (namespace === undefined || namespace === ours) continue;
      const program = await linkOf(child, 'exe');
      if (program !== undefined && program !== attachProgram && !program.endsWith('/lxc-attach')) return child;
    }
    generation = next;
  }
  return undefined;
}

/** Signals a process; false when it is gone. Number 0 only looks. */
export function send(pid: number, signal: number): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await orGone(readFile(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  return (text ?? '').split(' ').filter(Boolean).map(Number);
}

function linkOf(pid: number | 'self', name: string): Promise<string | undefined> {
  return orGone(readlink(`/proc/${pid}/${name}`));
}

/** A process may end between two looks: that is no error. */
async function orGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined;
    throw error;
  }
}
