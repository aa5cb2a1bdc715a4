import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/**
 * An id of this boot of this host. The kernel's own is shared by all hosts on one kernel (a connector may itself run in a container), so the
 * start time of process 1 is part of it.
 */
export async function bootId(): Promise<string> {
  const [kernel, init] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile('/proc/1/stat', 'utf8'),
  ]);
  // proc(5): field 22, counted behind the command's name, which may hold spaces and brackets.
  const started = init.slice(init.lastIndexOf(')') + 2).split(' ')[19];
  return createHash('sha256').update(`${kernel.trim()} ${started}`).digest('hex').slice(0, 32);
}
