/** The one door to other programs: argument arrays only, no shell, a small fixed environment, bounded output, always a deadline. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { FairleadError } from '#shared/errors.ts';

/** The most that is kept of each output stream; what comes after it is read and dropped. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

/** How long after a program's exit its pipes may stay open: a daemon it left behind may hold them forever. */
const PIPE_GRACE_MS = 250;

/** A program and its arguments. */
export type Argv = readonly [program: string, ...args: string[]];

/** How a program ended; exactly one of the two is not null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How a program ended and what it said, at most {@link MAX_OUTPUT_BYTES} of each stream. */
export interface RunResult extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** `timeoutMs`: the whole group of processes is killed then. `env` is added to the fixed environment. */
export interface RunOptions {
  readonly timeoutMs: number;
  readonly stdin?: string | Uint8Array;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end. Any exit code is a result; only not starting and not ending in time are errors. */
export type Run = (argv: Argv, options: RunOptions) => Promise<RunResult>;

/** A running program with open pipes. */
export interface PipedChild {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** What it wrote to stderr so far, bounded. */
  readonly stderr: () => string;
  /** Resolves when the program exited; never rejects. */
  readonly exited: Promise<Exit>;
  /** Ends the program and everything in its process group at once. */
  readonly kill: () => void;
}

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/' } as const;

/**
 * Starts a program in a process group of its own, with three pipes.
 * @throws FairleadError `host_failed` when it cannot be started (not installed, no memory).
 */
export async function spawnPiped(
  argv: Argv,
  options: Omit<RunOptions, 'timeoutMs' | 'stdin'> = {},
): Promise<PipedChild> {
  const [program, ...args] = argv;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    shell: false,
    env: { ...ENVIRONMENT, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const exited = exitOf(child);
  const stderr = collect(child.stderr);
  // A program may end without reading its input: that shows in its exit, not as a crash of ours.
  child.stdin.on('error', () => {});
  await started(child, program);
  const pid = child.pid ?? 0;
  const kill = () => {
    // After its exit the number may belong to somebody else.
    if (child.exitCode === null && child.signalCode === null) killGroup(pid);
  };
  return { pid, stdin: child.stdin, stdout: child.stdout, stderr, exited, kill };
}

/**
 * Runs a program to its end; see {@link Run}.
 * @throws FairleadError `host_failed` when it cannot be started, `timed_out` when it was killed at its deadline.
 */
export const run: Run = async (argv, options) => {
  const child = await spawnPiped(argv, options);
  const stdout = collect(child.stdout);
  const closed = new Promise((resolve) => child.stdout.once('close', resolve));
  child.stdin.end(options.stdin);
  let late = false;
  const deadline = setTimeout(() => {
    late = true;
    child.kill();
  }, options.timeoutMs);
  const exit = await child.exited.finally(() => clearTimeout(deadline));
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, PIPE_GRACE_MS))]);
  child.stdout.destroy();
  if (late) {
    throw new FairleadError(
      'timed_out',
      `${argv[0]} did not finish within ${options.timeoutMs / 1000} seconds and was stopped; see whether the host is overloaded, then try again`,
    );
  }
  return { ...exit, stdout: stdout(), stderr: child.stderr() };
};

/** Like {@link run}, but an exit other than 0 is an error; returns stdout. @throws FairleadError `host_failed` */
export async function runOrFail(run: Run, argv: Argv, options: RunOptions): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  throw new FairleadError('host_failed', `${argv[0]} failed on this host: ${reasonOf(result)}`);
}

/** One printable line that says why a program failed, from its last words or its exit. */
export function reasonOf(result: Exit & { readonly stderr: string }): string {
  const lines = result.stderr
    .split('\n')
    .map(printable)
    .filter((line) => line !== '');
  const ended = result.signal === null ? `exit code ${String(result.code)}` : `ended by ${result.signal}`;
  return lines.length === 0 ? ended : `${lines.slice(0, 3).join('; ')} (${ended})`;
}

function printable(line: string): string {
  return line
    .replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
    .slice(0, 300);
}

function started(child: ChildProcess, program: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'it is not installed; install it' : `${cause.message}; repair that`;
      reject(
        new FairleadError('host_failed', `${program} could not be started on this host: ${why}, then try again`, {
          cause,
        }),
      );
    });
  });
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: 127, signal: null }));
  });
}

/** Reads a stream to its end and keeps the beginning. */
function collect(stream: Readable): () => string {
  const kept: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    const room = MAX_OUTPUT_BYTES - size;
    if (room <= 0) return;
    kept.push(chunk.subarray(0, room));
    size += Math.min(room, chunk.length);
  });
  stream.on('error', () => {});
  return () => Buffer.concat(kept).toString('utf8');
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
