/** Runs a command inside a container: separate pipes, or a terminal. The streams push back; nothing here buffers without a bound. */
import type { Readable, Writable } from 'node:stream';
import { FairleadError } from '#shared/errors.ts';
import type { HostPaths } from '../host/paths.ts';
import type { Argv } from '../process.ts';
import { lxcArgv } from './tools.ts';
import { attachPiped } from './attachPipes.ts';
import { attachTerminal } from './attachTerminal.ts';

/** What to run, as whom. `width` and `height` in characters, 0 for unknown; they matter with `interactive` only. */
export interface AttachRequest {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** '' for LXD's default: root's home if the container has one, else `/`. */
  readonly cwd: string;
  readonly user: number;
  readonly group: number;
  readonly interactive: boolean;
  readonly width: number;
  readonly height: number;
}

/** A running command. The reader of `stdout` and `stderr` sets the pace; a command that nobody reads from waits. */
export interface Session {
  readonly stdin: Writable;
  /** Everything, with a terminal. */
  readonly stdout: Readable;
  /** Absent with a terminal. */
  readonly stderr: Readable | undefined;
  /** Does nothing without a terminal. */
  resize(width: number, height: number): void;
  /** Sends a signal (its number) to the command inside; false when there is none to receive it any more. */
  signal(number: number): Promise<boolean>;
  /** Ends the command at once. */
  kill(): void;
  /** The exit code: 128 + n after signal n, 127 not found, 126 not executable. Streams end on their own after it. */
  readonly exited: Promise<number>;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** lxc-attach enters the folder it was called from if the container has one of that name: this gives LXD's default. */
const DEFAULT_CWD = { root: '/root', others: '/' };
/** `cd` has no other program; the path is an argument of the shell, never a part of its script. */
const CHANGE_FOLDER = ['/bin/sh', '-c', 'cd -- "$1" || exit 126; shift; exec "$@"', 'sh'] as const;

/**
 * Starts a command in a running container.
 * @throws FairleadError `bad_request` for what cannot be passed on, `host_failed` when lxc-attach cannot be started
 */
export async function attach(paths: HostPaths, id: string, request: AttachRequest): Promise<Session> {
  const argv = attachArgv(paths.lxcpath, id, request);
  const cwd = request.user === 0 ? DEFAULT_CWD.root : DEFAULT_CWD.others;
  return request.interactive ? attachTerminal(argv, cwd, request) : attachPiped(argv, cwd);
}

/** The call of lxc-attach. Pure. @throws FairleadError `bad_request` */
export function attachArgv(lxcpath: string, id: string, request: AttachRequest): Argv {
  const variables = Object.entries(attachEnvironment(request));
  for (const text of [...request.command, request.cwd, ...variables.flat()]) {
    if (text.includes('\0'))
      throw new FairleadError('bad_request', 'A command, its folder and its environment hold no NUL');
  }
  for (const [name] of variables) {
    if (name === '' || name.includes('=')) throw new FairleadError('bad_request', `"${name}" is no name of a variable`);
  }
  const settings = variables.flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const folder = request.cwd === '' ? [] : [...CHANGE_FOLDER, request.cwd];
  const who = ['-u', `${request.user}`, '-g', `${request.group}`];
  return lxcArgv(lxcpath, 'attach', id, '--clear-env', ...settings, ...who, '--', ...folder, ...request.command);
}

/** LXD's defaults below what the client asked for. The instance's own `environment.*` comes from its configuration. */
export function attachEnvironment(request: AttachRequest): Record<string, string> {
  return {
    PATH,
    LANG: 'C.UTF-8',
    ...(request.user === 0 ? { HOME: '/root', USER: 'root' } : {}),
    ...(request.interactive ? { TERM: 'xterm' } : {}),
    ...request.environment,
  };
}
