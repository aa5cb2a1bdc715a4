/**
 * Instances frozen with their memory, in two phases (security note §0, M1–M11): a dump parks the source and a restore parks the target, both
 * with everything done and nothing running, until a verdict comes. CRIU runs apart from the connector, and all that is known of it is in
 * files, so that a connector that restarts takes up where the last one ended.
 *
 * While a restore is parked LXC does not answer for the container: nothing here asks it then.
 */
import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import { readIfThere, writeDurably } from '../durable.ts';
import type { KernelHost } from '../host/facts.ts';
import type { HostPaths } from '../host/paths.ts';
import { groupFolder } from '../lxc/cgroup.ts';
import { nicsOf } from '../lxc/nics.ts';
import type { LxcRuntime } from '../lxc/runtime.ts';
import { eventually, lxcArgv } from '../lxc/tools.ts';
import type { Run } from '../process.ts';
import { ACTION_SCRIPT, CRIU_CONFIG, KEEPER } from './action.ts';
import { isFrozen, killAll, processes, startTime, thaw } from './cgroup.ts';
import { criuReasons } from './reasons.ts';

/** Dumping or restoring takes a second a gigabyte; a restore of damaged pages hangs for ever (M9). */
const PARK_TIMEOUT_MS = 10 * 60_000;
/** After the verdict nothing is left to do but to end or to run. */
const VERDICT_TIMEOUT_MS = 30_000;
const POLL_MS = 10;
const IP_TIMEOUT_MS = 10_000;
const FIND_TIMEOUT_MS = 30_000;

export type Verdict = 'go' | 'back';

/** An instance that stands still. */
export interface Parked {
  readonly what: 'dump' | 'restore';
  /** Milliseconds since 1970, by the host's clock. */
  readonly since: number;
  /** Processes that wait. */
  readonly tasks: number;
  /**
   * `go`: the dumped one ends, the restored one runs. `back`: the dumped one runs on, the restored one ends. May be said again.
   * @throws FairleadError `host_failed` when it could not be carried out
   */
  verdict(verdict: Verdict): Promise<void>;
}

const task = z.object({
  what: z.enum(['dump', 'restore']),
  pid: z.int(),
  started: z.string(),
  /** The control group that is frozen; of a restore it is known only when it is parked. */
  freezer: z.string(),
  veths: z.array(z.object({ outside: z.string(), bridge: z.string() })),
});
type Task = z.infer<typeof task>;

export interface CheckpointDeps {
  readonly paths: HostPaths;
  readonly run: Run;
  readonly runtime: LxcRuntime;
  readonly kernel: KernelHost;
  readonly parkTimeoutMs?: number;
}

/** Dumps and restores of this host, one an instance. */
export class Checkpoints {
  readonly #deps: CheckpointDeps;

  constructor(deps: CheckpointDeps) {
    this.#deps = deps;
  }

  /** Where an instance's memory is dumped to and restored from. */
  images(id: string): string {
    return join(this.#folder(id), 'images');
  }

  /** Empties the folder for images; what comes from elsewhere is put there before {@link restore}. */
  async clear(id: string): Promise<void> {
    await rm(this.#folder(id), { recursive: true, force: true });
    // CRIU reads some images as the container's root: they are open, below a closed folder.
    await mkdir(join(this.#root, id), { recursive: true, mode: 0o700 });
    await mkdir(this.images(id), { mode: 0o755 });
    await chmod(this.images(id), 0o755);
  }

  /** Dumps a running instance and parks it, frozen. Failed, it runs on. @throws FairleadError `host_failed` with CRIU's reasons */
  async dump(spec: InstanceSpec): Promise<Parked> {
    const { runtime } = this.#deps;
    const { pid } = await runtime.status(spec.id);
    const freezer = await this.#freezerOf(spec.id, pid);
    await this.clear(spec.id);
    const parked = await this.#start('dump', spec, freezer, ['-s']).catch(async (error: unknown) => {
      // CRIU has let it go; the group and the link are ours.
      await thaw(freezer);
      await this.#rejoin(vethsOf(spec));
      throw error;
    });
    return parked;
  }

  /** Restores from {@link images} and parks. The configuration is written, the root filesystem mounted. Failed, nothing is left running. */
  async restore(spec: InstanceSpec): Promise<Parked> {
    for (const name of MARKERS) await rm(join(this.#folder(spec.id), name), { force: true });
    return this.#start('restore', spec, '', ['-r']);
  }

  /** What is parked of an instance, also by an earlier connector; undefined when nothing is. */
  async find(id: string): Promise<Parked | undefined> {
    const known = await this.#task(id);
    if (!known) return undefined;
    // One that is still on its way to be parked is waited for: to kill CRIU in the middle would be worse.
    const settled = async (): Promise<boolean> => (await this.#marker(id)) !== undefined || !(await this.#alive(known));
    await eventually(settled, this.#deps.parkTimeoutMs ?? PARK_TIMEOUT_MS, POLL_MS);
    const marker = await this.#marker(id);
    if (!marker) return undefined;
    const alive = await this.#alive(known);
    const freezer = known.freezer || (await this.#freezerOf(id, marker.init).catch(() => ''));
    // After a reboot, or when everything was killed, the markers speak of the past.
    if (!alive && (freezer === '' || (await processes(freezer)).length === 0)) return undefined;
    return this.#parked(id, { ...known, freezer }, marker);
  }

  /** Deletes images and markers. Nothing is parked any more. */
  async remove(id: string): Promise<void> {
    await rm(this.#folder(id), { recursive: true, force: true });
  }

  async #start(what: Task['what'], spec: InstanceSpec, freezer: string, args: string[]): Promise<Parked> {
    const { id } = spec;
    const { paths, kernel } = this.#deps;
    const folder = this.#folder(id);
    const script = join(this.#root, 'action.sh');
    const criuConfig = join(this.#root, 'criu.conf');
    await writeDurably(script, ACTION_SCRIPT, 0o700);
    await writeDurably(criuConfig, CRIU_CONFIG);
    const env = {
      CRIU_CONFIG_FILE: criuConfig,
      FL_DIR: folder,
      FL_FREEZER: freezer,
      FL_GROUPS: [kernel.cgroups.unified, kernel.cgroups.systemd].filter((mount) => mount !== undefined).join(' '),
      FL_VETHS: nicsOf(spec)
        .map(({ name, hostName, bridge, hwaddr, mtu }) => [name, hostName, bridge, hwaddr, mtu ?? ''].join(','))
        .join(' '),
    };
    const argv = lxcArgv(paths.lxcpath, 'checkpoint', id, ...args, '-v', '-A', script, '-D', this.images(id));
    const pid = await spawnKept(folder, argv, env);
    const started = (await startTime(pid)) ?? '';
    const known: Task = { what, pid, started, freezer, veths: vethsOf(spec) };
    await writeDurably(join(folder, 'task.json'), JSON.stringify(known));
    const ended = async (): Promise<boolean> => !(await this.#alive(known));
    const parkedOrOver = async (): Promise<boolean> => (await this.#marker(id)) !== undefined || (await ended());
    const settled = await eventually(parkedOrOver, this.#deps.parkTimeoutMs ?? PARK_TIMEOUT_MS, POLL_MS);
    const marker = await this.#marker(id);
    if (settled && marker) {
      const group = freezer || (await this.#freezerOf(id, marker.init));
      return this.#parked(id, { ...known, freezer: group }, marker);
    }
    if (!settled) killSession(pid);
    await eventually(ended, VERDICT_TIMEOUT_MS, POLL_MS);
    if (what === 'restore') await this.#killRestored(id);
    const why = settled ? await criuReasons(folder, what) : 'it took longer than it may';
    const doing = what === 'dump' ? 'The memory could not be saved' : 'The memory could not be brought back';
    throw new FairleadError('host_failed', `${doing}: ${why}. The instance was not moved; move it without its memory.`);
  }

  async #parked(id: string, known: Task, { at }: Marker): Promise<Parked> {
    const tasks = (await processes(known.freezer)).length;
    return {
      what: known.what,
      since: at,
      tasks,
      verdict: (verdict) =>
        known.what === 'dump' ? this.#endDump(id, known, verdict) : this.#endRestore(id, known, verdict),
    };
  }

  async #endDump(id: string, known: Task, verdict: Verdict): Promise<void> {
    const { runtime } = this.#deps;
    const folder = this.#folder(id);
    await writeDurably(join(folder, 'verdict'), verdict);
    const answered = async (): Promise<boolean> =>
      (await readIfThere(join(folder, 'answered'))) !== undefined || !(await this.#alive(known));
    await eventually(answered, VERDICT_TIMEOUT_MS, POLL_MS);
    const over = async (): Promise<boolean> => !(await this.#alive(known));
    if (verdict === 'back') {
      // CRIU takes its hands off first, if it lives; on v1 it may wait for the thaw itself.
      await eventually(over, 500, POLL_MS);
      await thaw(known.freezer);
      await this.#rejoin(known.veths);
      if (!(await eventually(over, VERDICT_TIMEOUT_MS, POLL_MS))) killSession(known.pid);
      if (await isFrozen(known.freezer)) throw stuck(id, 'thaw');
      return;
    }
    const gone = async (): Promise<boolean> => !(await runtime.running()).has(id);
    // A CRIU that lives ends what it holds, once the group is thawed; without one it is for us, while everything is still frozen.
    if (await over()) await killAll(known.freezer);
    else await thaw(known.freezer);
    if (await eventually(gone, VERDICT_TIMEOUT_MS, POLL_MS)) return;
    await killAll(known.freezer);
    if (!(await eventually(gone, VERDICT_TIMEOUT_MS, POLL_MS))) throw stuck(id, 'end');
  }

  async #endRestore(id: string, known: Task, verdict: Verdict): Promise<void> {
    const folder = this.#folder(id);
    await writeDurably(join(folder, 'verdict'), verdict);
    const over = async (): Promise<boolean> => !(await this.#alive(known));
    const ended = await eventually(over, VERDICT_TIMEOUT_MS, POLL_MS);
    if (verdict === 'go') {
      const code = (await readIfThere(join(folder, 'exit')))?.trim();
      if (ended && code === '0') return;
      throw new FairleadError(
        'host_failed',
        `The restored instance did not go on: ${await criuReasons(folder, 'restore')}.`,
      );
    }
    if (!ended) killSession(known.pid);
    await this.#killRestored(id);
    for (const { outside } of known.veths) await this.#ip('link', 'delete', 'dev', outside);
    const gone = async (): Promise<boolean> => !(await this.#deps.runtime.running()).has(id);
    if (!(await eventually(gone, VERDICT_TIMEOUT_MS, POLL_MS))) throw stuck(id, 'end');
  }

  /** Ends what a restore that failed, or was killed, has left: it holds the instance's groups (M8). */
  async #killRestored(id: string): Promise<void> {
    const { cgroups } = this.#deps.kernel;
    const mount = cgroups.controllers.get('freezer') ?? cgroups.unified ?? '';
    const argv = ['find', mount, '-maxdepth', '6', '-type', 'd', '-name', `lxc.payload.${id}*`, '-print'] as const;
    const { stdout } = await this.#deps.run(argv, { timeoutMs: FIND_TIMEOUT_MS });
    for (const group of stdout.split('\n').filter(Boolean)) await killAll(group);
  }

  /** Puts the links back on their bridges; CRIU's hook has done so if it still lived. */
  async #rejoin(veths: Task['veths']): Promise<void> {
    for (const { outside, bridge } of veths) {
      await this.#ip('link', 'set', 'dev', outside, 'master', bridge);
      await this.#ip('link', 'set', 'dev', outside, 'up');
    }
  }

  async #ip(...args: string[]): Promise<void> {
    await this.#deps.run(['ip', ...args], { timeoutMs: IP_TIMEOUT_MS });
  }

  async #freezerOf(id: string, pid: number): Promise<string> {
    const procCgroup = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    const folder = groupFolder(this.#deps.kernel.cgroups, procCgroup, id, 'freezer');
    if (folder !== undefined) return folder;
    throw new FairleadError(
      'host_failed',
      'The instance has no control group that could be frozen, so it cannot be moved with its memory. Move it without.',
    );
  }

  async #task(id: string): Promise<Task | undefined> {
    const text = await readIfThere(join(this.#folder(id), 'task.json'));
    return text === undefined ? undefined : task.parse(JSON.parse(text));
  }

  async #alive({ pid, started }: Task): Promise<boolean> {
    return started !== '' && (await startTime(pid)) === started;
  }

  /** What the hook wrote when it parked, also after it has been answered. */
  async #marker(id: string): Promise<Marker | undefined> {
    const folder = this.#folder(id);
    const text = (await readIfThere(join(folder, 'parked'))) ?? (await readIfThere(join(folder, 'answered')));
    if (text === undefined) return undefined;
    const [, init = 0, at = 0] = text.trim().split(' ').map(Number);
    return { init, at };
  }

  get #root(): string {
    return join(this.#deps.paths.stateDir, 'checkpoints');
  }

  #folder(id: string): string {
    // Built from an id that was checked.
    this.#deps.paths.instance(id);
    return join(this.#root, id);
  }
}

interface Marker {
  readonly init: number;
  readonly at: number;
}

/** What a run leaves in its folder, besides images. */
const MARKERS = ['task.json', 'parked', 'answered', 'verdict', 'exit', 'action.log', 'tool.log'];

function vethsOf(spec: InstanceSpec): Task['veths'] {
  return nicsOf(spec).map(({ hostName, bridge }) => ({ outside: hostName, bridge }));
}

/** Starts a program that outlives us, in a session of its own; its exit code lands in the folder. */
function spawnKept(folder: string, argv: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', KEEPER, 'keeper', folder, ...argv], {
      stdio: 'ignore',
      detached: true,
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/', ...env },
    });
    child.once('spawn', () => resolve(child.pid ?? 0));
    child.once('error', reject);
    child.unref();
  });
}

function killSession(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function stuck(id: string, what: string): FairleadError {
  return new FairleadError(
    'host_failed',
    `The parked instance ${id} does not ${what}. Look at its processes on the host.`,
  );
}
