/** A command on a terminal: through node-pty where it is installed, else through util-linux `script`, without later resizing. */
import { Readable, Writable } from 'node:stream';
import { constants } from 'node:os';
import type { Socket } from 'node:net';
import type * as NodePty from '@lydell/node-pty';
import type { Argv } from '../process.ts';
import type { AttachRequest, Session } from './attach.ts';
import { appearing, send, signalAttached } from './attached.ts';
import { attachPiped } from './attachPipes.ts';

const DEFAULT_SIZE = { width: 80, height: 24 };
/**
 * node-pty throws away what is unread 200 ms after the exit. While the reader holds us up we look this often whether the
 * command is gone, and take the rest (at most what the kernel holds for a terminal, some tens of kilobytes) at once.
 */
const GONE_STEP_MS = 40;
const END_OF_INPUT = '\x04';
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

type PtyModule = Pick<typeof NodePty, 'spawn'>;

/** Starts `argv` on a new terminal. @throws FairleadError `host_failed` when it cannot be started */
export async function attachTerminal(argv: Argv, cwd: string, request: AttachRequest): Promise<Session> {
  const size = { width: request.width || DEFAULT_SIZE.width, height: request.height || DEFAULT_SIZE.height };
  const pty = await loadPty();
  return pty ? onPty(pty, argv, cwd, size) : onScript(argv, cwd, size);
}

/** node-pty is optional: a prebuilt binary exists for common machines only. */
async function loadPty(): Promise<PtyModule | undefined> {
  try {
    return await import('@lydell/node-pty');
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function onPty(pty: PtyModule, argv: Argv, cwd: string, size: { width: number; height: number }): Session {
  const [program, ...args] = argv;
  const terminal = pty.spawn(program, args, {
    name: 'xterm',
    cols: size.width,
    rows: size.height,
    cwd,
    env: ENVIRONMENT,
    encoding: null,
  });
  const { pid } = terminal;
  // node-pty's own write has no back-pressure; its socket (the version is pinned) has.
  const { _socket: socket } = terminal as unknown as { readonly _socket: Socket };
  let alive = true;
  let taking = false;
  let watching: NodeJS.Timeout | undefined;
  const resume = (): void => {
    clearInterval(watching);
    watching = undefined;
    terminal.resume();
  };
  const takeTheRest = (): void => {
    taking = true;
    resume();
  };
  const stdout = new Readable({
    read: resume,
    destroy: (error, done) => {
      takeTheRest();
      done(error);
    },
  });
  terminal.onData((data) => {
    if (stdout.destroyed || stdout.push(data) || taking) return;
    terminal.pause();
    watching ??= setInterval(() => send(pid, 0) || takeTheRest(), GONE_STEP_MS);
  });
  const stdin = typing(pid, socket);
  const exited = new Promise<number>((resolve) => {
    terminal.onExit(({ exitCode, signal }) => {
      alive = false;
      clearInterval(watching);
      stdout.push(null);
      resolve(signal ? 128 + signal : exitCode);
    });
  });
  return {
    stdin,
    stdout,
    stderr: undefined,
    resize: (width, height) => void (alive && width > 0 && height > 0 && terminal.resize(width, height)),
    signal: (number) => signalAttached(pid, number),
    kill: () => void signalAttached(pid, constants.signals.SIGKILL).finally(() => send(pid, constants.signals.SIGKILL)),
    exited,
  };
}

/** `script` takes one text for a shell: every argument is quoted into it whole. */
async function onScript(argv: Argv, cwd: string, size: { width: number; height: number }): Promise<Session> {
  const text = `stty cols ${size.width} rows ${size.height}; exec ${argv.map(quoted).join(' ')}`;
  const session = await attachPiped(['script', '-qfec', text, '/dev/null'], cwd);
  return { ...session, stdin: typing(session.pid, session.stdin), stderr: undefined };
}

/** Input for a terminal. It waits for the command: lxc-attach throws away what was typed before it prepared the terminal. */
function typing(pid: number, terminal: Writable): Writable {
  const ready = appearing(pid);
  const type = (data: Uint8Array | string, done: () => void): void =>
    void ready.then(() => (terminal.writable ? terminal.write(data, () => done()) : done()));
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => type(chunk, done),
    // On a terminal the end of input is a character.
    final: (done) => type(END_OF_INPUT, done),
  });
}

function quoted(argument: string): string {
  return `'${argument.replaceAll("'", `'\\''`)}'`;
}
