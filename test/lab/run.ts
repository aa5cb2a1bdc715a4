/** Runs a program of the machine and answers with everything it said. */
import { spawn } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';

/** Read back of each output stream; what a program says beyond that is left out. */
const OUTPUT_BOUND_BYTES = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 60_000;
const KILLED = 128 + 9;

export interface RunOptions {
  stdin?: string | Uint8Array;
  /** Default 60 s; the program is killed then. */
  timeoutMs?: number;
  /** Replaces the environment. */
  env?: NodeJS.ProcessEnv;
}

export interface RunResult {
  /** The exit status; 137 when a signal ended the program. */
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs `argv` to its end. Output goes through unlinked files, not pipes: lxc-start and its like leave a daemon behind that
 * holds on to them, so a pipe would never end, and closing it would kill the daemon at its next word.
 * @throws FairleadError `timed_out`, or `unavailable` when the program cannot be started
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-run-'));
  const [stdout, stderr] = await Promise.all(['out', 'err'].map((name) => open(join(folder, name), 'w+')));
  await rm(folder, { recursive: true });
  if (!stdout || !stderr) throw new FairleadError('internal', 'The output files were not opened.');
  try {
    const ended = await ending(argv, options, [stdout, stderr]);
    const result = { code: ended.code, stdout: await textOf(stdout), stderr: await textOf(stderr) };
    if (!ended.late) return result;
    const said = `${result.stdout}${result.stderr}`.slice(-1000);
    throw new FairleadError('timed_out', `"${argv.join(' ')}" did not end in time and was killed. It said: ${said}`);
  } finally {
    await Promise.all([stdout.close(), stderr.close()]);
  }
}

/**
 * As {@link run}, for programs that must succeed; answers with stdout.
 * @throws FairleadError `internal` with the program's own words when its exit status is not 0
 */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  throw new FairleadError('internal', `"${argv.join(' ')}" failed with ${result.code}: ${result.stderr.trim()}`);
}

function ending(
  argv: readonly string[],
  options: RunOptions,
  [stdout, stderr]: [FileHandle, FileHandle],
): Promise<{ code: number; late: boolean }> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', stdout.fd, stderr.fd],
      ...(options.env && { env: options.env }),
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new FairleadError('unavailable', `"${program}" cannot be started: ${cause.message}.`, { cause }));
    });
    child.on('exit', (code) => {
      clearTimeout(timer);
      child.stdin?.destroy();
      resolve({ code: code ?? KILLED, late });
    });
    // A program may end before it has read its input; its exit status tells the story then.
    child.stdin?.on('error', () => child.stdin?.destroy());
    child.stdin?.end(options.stdin ?? '');
  });
}

async function textOf(file: FileHandle): Promise<string> {
  const size = Math.min((await file.stat()).size, OUTPUT_BOUND_BYTES);
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(size), position: 0 });
  return buffer.toString('utf8', 0, bytesRead);
}
