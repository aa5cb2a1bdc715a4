/** A command with three pipes. The pipes themselves push back: a reader that stops fills 64 KiB, then the command waits. */
import { PassThrough, type Readable } from 'node:stream';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { FairleadError } from '#shared/errors.ts';
import type { Argv } from '../process.ts';
import type { Session } from './attach.ts';
import { signalAttached } from './attached.ts';

/** A command may leave a child behind that keeps the pipes. After its exit they end once they were silent for this long. */
const SILENCE_MS = 250;

/** Starts `argv` with pipes. @throws FairleadError `host_failed` when it cannot be started */
export async function attachPiped(argv: Argv, cwd: string): Promise<Session & { readonly pid: number }> {
  const [program, ...args] = argv;
  const child = spawn(program, args, { stdio: 'pipe', cwd, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  const exited = new Promise<number>((resolve) =>
    child.once('exit', (code, signal) => resolve(exitCode(code, signal))),
  );
  // A command may end without reading its input; its exit tells.
  child.stdin.on('error', () => child.stdin.destroy());
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) =>
      reject(new FairleadError('host_failed', `${program} could not be started: ${cause.message}`, { cause })),
    );
  });
  const pid = child.pid ?? 0;
  return {
    pid,
    stdin: child.stdin,
    stdout: endingAfter(exited, child.stdout),
    stderr: endingAfter(exited, child.stderr),
    resize: () => {},
    signal: (number) => signalAttached(pid, number),
    kill: () => void signalAttached(pid, constants.signals.SIGKILL).finally(() => child.kill('SIGKILL')),
    exited,
  };
}

/** A shell's view of how a process ended. */
function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/** The same bytes, ended by the source's end, or after `exited` by silence while somebody was ready to read. */
function endingAfter(exited: Promise<number>, source: Readable): Readable {
  const out = new PassThrough();
  let lastData = 0;
  source.on('data', () => (lastData = performance.now()));
  source.on('error', (error) => out.destroy(error));
  source.pipe(out);
  void exited.then(() => {
    if (source.closed) return;
    lastData = performance.now();
    const timer = setInterval(() => {
      const held = source.readableLength > 0 || out.writableNeedDrain;
      if (held && !out.destroyed) lastData = performance.now();
      if (performance.now() - lastData < SILENCE_MS) return;
      source.unpipe(out).destroy();
      out.end();
    }, SILENCE_MS / 5);
    source.once('close', () => clearInterval(timer));
  });
  return out;
}
