/** The life cycle of containers through LXC's own programs. Containers run on when we do not. */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import type { InstanceStatus } from '#shared/link/commands.ts';
import { FairleadError } from '#shared/errors.ts';
import type { HostPaths } from '../host/paths.ts';
import type { Argv, Run } from '../process.ts';
import { reasonsIn } from './log.ts';
import { runningIds } from './sockets.ts';
import { eventually, lxcArgv, lxcTool, TOOL_TIMEOUT_MS } from './tools.ts';

/** A start includes the guest's hooks, mounts and network: far more than it ever takes. */
const START_TIMEOUT_MS = 60_000;
/** What is left to do for LXC once the guest itself has stopped: unmount, remove the network. */
const TEARDOWN_TIMEOUT_MS = 15_000;
const POLL_MS = 20;
const UNIX_SOCKETS = '/proc/net/unix';

/** A container's state and its init as the host sees it; pid 0 when there is none. */
export interface LiveState {
  readonly status: InstanceStatus;
  readonly pid: number;
  /** On its way to Stopped; `status` still says Running, as in LXD. */
  readonly stopping: boolean;
}

/** Starts and stops containers by id. Nothing is remembered here: the truth is the kernel's. */
export class LxcRuntime {
  readonly #paths: HostPaths;
  readonly #run: Run;

  constructor(paths: HostPaths, run: Run) {
    this.#paths = paths;
    this.#run = run;
  }

  /**
   * Starts a container from its written configuration; returns when its init runs. Running already is fine.
   * @throws FairleadError `host_failed` with LXC's reasons
   */
  async start(id: string): Promise<void> {
    const before = await this.status(id);
    if (before.status !== 'Stopped' && !before.stopping) return;
    await this.#gone(id);
    const { config, lxcLog } = this.#paths.instance(id);
    // A log holds one start: its reasons must not be those of an earlier one.
    await writeFile(lxcLog, '', { mode: 0o600 });
    const argv = lxcArgv(this.#paths.lxcpath, 'start', id, '-d', '-f', config, '-o', lxcLog, '-l', 'WARN');
    if ((await spawnDaemon(argv)) === 0) return;
    await this.#gone(id);
    const reasons = reasonsIn(await readFile(lxcLog, 'utf8'));
    throw new FairleadError(
      'host_failed',
      `The instance did not start: ${reasons || 'LXC gave no reason'}. Repair that and start it again`,
    );
  }

  /**
   * Stops a container; returns when LXC has cleaned up behind it. Stopped already is fine. Without `force` the guest's
   * init is asked and has `timeoutSeconds`; with it everything inside is killed.
   * @throws FairleadError `timed_out` when the guest did not stop: it still runs then
   */
  async stop(id: string, options: { force: boolean; timeoutSeconds: number }): Promise<void> {
    const running = await this.running();
    if (!running.has(id)) return;
    if (options.force) {
      await this.#tool('stop', id, TEARDOWN_TIMEOUT_MS, '-k');
    } else {
      // A frozen init hears nothing.
      if ((await this.status(id)).status === 'Frozen') await this.unfreeze(id);
      const timeoutMs = options.timeoutSeconds * 1000;
      const result = await this.#tool(
        'stop',
        id,
        timeoutMs + TOOL_TIMEOUT_MS,
        '--nokill',
        '-t',
        `${options.timeoutSeconds}`,
      );
      if (result.code !== 0 && (await this.status(id)).status !== 'Stopped') throw tooSlow(options.timeoutSeconds);
    }
    await this.#gone(id);
  }

  /** Stops, then starts again with the configuration as it is now. @throws as {@link stop} and {@link start} */
  async restart(id: string, options: { force: boolean; timeoutSeconds: number }): Promise<void> {
    await this.stop(id, options);
    await this.start(id);
  }

  /** Stops every process inside without its knowledge. @throws FairleadError `host_failed` */
  async freeze(id: string): Promise<void> {
    await this.#mustTool('freeze', id);
  }

  /** Lets them go on. @throws FairleadError `host_failed` */
  async unfreeze(id: string): Promise<void> {
    await this.#mustTool('unfreeze', id);
  }

  /** State and init's pid. @throws FairleadError `busy` when LXC does not answer (a parked restore) */
  async status(id: string): Promise<LiveState> {
    if (!(await this.running()).has(id)) return STOPPED;
    const result = await this.#tool('info', id, TOOL_TIMEOUT_MS, '-s', '-p');
    return parseInfo(result.stdout);
  }

  /** The ids of all containers that are not stopped. */
  async running(): Promise<Set<string>> {
    return runningIds(await readFile(UNIX_SOCKETS, 'utf8'), this.#paths.lxcpath);
  }

  /** Waits until LXC has cleaned up behind a container that ended. */
  async #gone(id: string): Promise<void> {
    if (await eventually(async () => !(await this.running()).has(id), TEARDOWN_TIMEOUT_MS, POLL_MS)) return;
    throw new FairleadError('host_failed', 'The instance has stopped, but LXC does not clean up behind it; try again');
  }

  async #mustTool(tool: string, id: string): Promise<void> {
    const result = await this.#tool(tool, id, TOOL_TIMEOUT_MS);
    if (result.code === 0) return;
    throw new FairleadError('host_failed', `lxc-${tool} failed: ${result.stderr.trim().slice(-500)}; try again`);
  }

  async #tool(tool: string, id: string, timeoutMs: number, ...args: string[]) {
    return lxcTool(this.#run, lxcArgv(this.#paths.lxcpath, tool, id, ...args), timeoutMs);
  }
}

const STOPPED: LiveState = { status: 'Stopped', pid: 0, stopping: false };

/** Reads `lxc-info -s -p`. A container that starts or stops counts as running, as in LXD. */
export function parseInfo(text: string): LiveState {
  const state = /^State:\s*(\w+)/m.exec(text)?.[1];
  const pid = Number(/^PID:\s*(\d+)/m.exec(text)?.[1] ?? 0);
  if (state === undefined || state === 'STOPPED') return STOPPED;
  const frozen = state === 'FROZEN' || state === 'FREEZING';
  return { status: frozen ? 'Frozen' : 'Running', pid, stopping: state === 'STOPPING' || state === 'ABORTING' };
}

function tooSlow(seconds: number): FairleadError {
  return new FairleadError(
    'timed_out',
    `The instance did not stop within ${seconds} seconds and still runs: give it more time, or stop it with --force`,
  );
}

/**
 * Starts a program that leaves a daemon behind and resolves with its exit code. The daemon keeps whatever stdio it was
 * given, so a pipe would never end (and would kill the daemon when we go): it gets none.
 */
function spawnDaemon(argv: Argv, env: Readonly<Record<string, string>> = {}): Promise<number> {
  const [program, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: 'ignore',
      detached: true,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/', ...env },
      cwd: '/',
    });
    const deadline = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
    child.once('error', (cause) => {
      clearTimeout(deadline);
      reject(
        new FairleadError('host_failed', `${program} could not be started: ${cause.message}. Install LXC`, { cause }),
      );
    });
    child.once('exit', (code) => {
      clearTimeout(deadline);
      resolve(code ?? -1);
    });
  });
}
