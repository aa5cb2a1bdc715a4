/** What decides whether memory saved on one host can be brought back on another. */
import { readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import type { CriuFacts } from '#shared/link/moves.ts';
import type { Run } from '../process.ts';

const TIMEOUT_MS = 15_000;

/** This host's; undefined where CRIU is missing or `criu check` fails. */
export async function criuFactsHere(run: Run): Promise<CriuFacts | undefined> {
  try {
    const version = await run(['criu', '--version'], { timeoutMs: TIMEOUT_MS });
    const check = await run(['criu', 'check'], { timeoutMs: TIMEOUT_MS });
    if (version.code !== 0 || check.code !== 0) return undefined;
    return {
      version: (/Version:\s*(\S+)/.exec(version.stdout)?.[1] ?? '').slice(0, 64),
      kernel: release().slice(0, 200),
      architecture: arch(),
      cpu: cpuFlags(await readFile('/proc/cpuinfo', 'utf8')),
    };
  } catch {
    // Not installed.
    return undefined;
  }
}

/** The processor's flags in /proc/cpuinfo, sorted; those of the first one, which the others share. Pure. */
export function cpuFlags(cpuinfo: string): string[] {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  return line
    .split(' ')
    .filter((flag) => flag !== '' && flag.length <= 32)
    .sort()
    .slice(0, 400);
}
