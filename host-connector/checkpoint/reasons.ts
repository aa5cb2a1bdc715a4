/** Why CRIU failed, out of its logs. */
import { join } from 'node:path';
import { readIfThere } from '../durable.ts';

const MAX_REASONS = 3;
const MAX_LENGTH = 600;
/** Lines of every run on a host without CAP_SYS_RESOURCE, and what only follows from others. */
const NOISE = /RLIMIT_NOFILE|Dumping FAILED|Restoring FAILED|Unable to kill|Failed to kill/;

/** The last reasons CRIU gave, or what lxc-checkpoint said. */
export async function criuReasons(folder: string, what: 'dump' | 'restore'): Promise<string> {
  const log = (await readIfThere(join(folder, 'images', `${what}.log`))) ?? '';
  return errorsIn(log) || lastLine((await readIfThere(join(folder, 'tool.log'))) ?? '') || 'CRIU gave no reason';
}

/** The `Error` lines of a CRIU log without their place in its source, the first ones. Pure. */
export function errorsIn(log: string): string {
  const reasons = log.split('\n').flatMap((line) => {
    if (NOISE.test(line)) return [];
    return (
      /Error \([^)]*\):\s*(.*)$/
        .exec(line)?.[1]
        ?.replaceAll(/\p{Cc}+/gu, ' ')
        .trim() ?? []
    );
  });
  return [...new Set(reasons)].slice(0, MAX_REASONS).join('; ').slice(0, MAX_LENGTH);
}

function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').replaceAll(/\p{Cc}+/gu, ' ').slice(0, MAX_LENGTH);
}
