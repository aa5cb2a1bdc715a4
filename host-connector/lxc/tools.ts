/** How every program of LXC is called: which container, which folder, and a deadline. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { Argv, Run, RunResult } from '../process.ts';

/** No lxc-* program has more to do than this unless it waits for a guest; a parked restore lets them hang for ever. */
export const TOOL_TIMEOUT_MS = 10_000;

/** `lxc-<tool> -P <lxcpath> -n <id> ...args`. */
export function lxcArgv(lxcpath: string, tool: string, id: string, ...args: string[]): Argv {
  return [`lxc-${tool}`, '-P', lxcpath, '-n', id, ...args];
}

/** True once `check` is; false when it was not within `timeoutMs`. `stepMs`: pause between two looks. */
export async function eventually(check: () => Promise<boolean>, timeoutMs: number, stepMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() >= end) return false;
    await sleep(stepMs);
  }
  return true;
}

/** Runs one lxc-* program to its end; its exit code is the caller's to judge. */
export async function lxcTool(run: Run, argv: Argv, timeoutMs = TOOL_TIMEOUT_MS): Promise<RunResult> {
  try {
    return await run(argv, { timeoutMs });
  } catch (error) {
    if (!isFairleadError(error, 'timed_out')) throw error;
    throw new FairleadError(
      'busy',
      `LXC does not answer for this instance: it may be in the middle of a move; try again later`,
      {
        cause: error,
      },
    );
  }
}
