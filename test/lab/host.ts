/** One virtual host: a machine of its own as far as LXC, CRIU and the network can tell. */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '#shared/errors.ts';
import { joinFolders, machineCgroups, makeCgroups, removeCgroups } from './cgroups.ts';
import { ipBatch } from './netns.ts';
import { hostLinks, lanLinks } from './network.ts';
import type { LabNames } from './network.ts';
import { must, run } from './run.ts';
import type { RunOptions, RunResult } from './run.ts';

const START = fileURLToPath(new URL('host-start.sh', import.meta.url));
const EXEC = fileURLToPath(new URL('host-exec.sh', import.meta.url));
const FILLER = '/var/lib/fairlead/.filler';
const RUNNING = 'running.json';
const FILL_TIMEOUT_MS = 5 * 60_000;
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface Bind {
  /** A file or folder of the machine. */
  source: string;
  /** Absolute path inside the host. */
  target: string;
}

/** What a host is made from; it does not change while the lab is up. */
export interface HostPlan {
  index: number;
  names: LabNames;
  /** The host's folder on the machine's own filesystem: overlay layers, container storage, log. */
  folder: string;
  base: string;
  binds: Bind[];
  /** Size of a small disk for /var/lib/fairlead, such as `64M`; without it the machine's own disk. */
  disk?: string;
}

interface Running {
  /** The host's pid 1, as the machine counts. */
  pid: number;
  cgroups: string[];
}

export class LabHost {
  readonly #plan: HostPlan;
  #running: Running | undefined;

  constructor(plan: HostPlan) {
    this.#plan = plan;
  }

  /** The host's name, `host1` and so on; also its hostname. */
  get name(): string {
    return `host${this.#plan.index}`;
  }

  /** The host's pid 1, as the machine counts. */
  get pid(): number {
    return this.#up().pid;
  }

  /** The host's /var/lib/fairlead as the machine sees it. With a small disk only while the host is up. */
  get stateDir(): string {
    const { disk, folder } = this.#plan;
    return disk === undefined ? join(folder, 'fairlead') : `/proc/${this.pid}/root/var/lib/fairlead`;
  }

  /** Makes the disk. */
  async create(): Promise<void> {
    const { folder, disk } = this.#plan;
    for (const part of ['up', 'work', 'root', 'lxc', 'fairlead']) await mkdir(join(folder, part), { recursive: true });
    if (disk === undefined) return;
    await must(['truncate', '-s', disk, join(folder, 'disk.img')]);
    await must(['mkfs.ext4', '-q', '-F', '-m', '0', join(folder, 'disk.img')]);
  }

  /** Connects the host to its router and starts it. */
  async boot(): Promise<void> {
    const { index, names, folder, base, binds } = this.#plan;
    const namespace = names.host(index);
    await must(['ip', 'netns', 'add', namespace]);
    await ipBatch(names.router(index), lanLinks(names, index));
    await ipBatch(namespace, hostLinks());
    const cgroups = await makeCgroups(namespace);
    const pairs = binds.map(({ source, target }) => `${source}:${target}`);
    const machine = [folder, this.name, namespace, machineCgroups(), base, names.control];
    const pid = await startHost(folder, [...machine, ...cgroups, '--', ...pairs]);
    this.#running = { pid, cgroups: joinFolders(cgroups) };
    await writeFile(join(folder, RUNNING), JSON.stringify(this.#running));
  }

  /** Takes up a host that another process has booted. */
  async attach(): Promise<void> {
    this.#running = JSON.parse(await readFile(join(this.#plan.folder, RUNNING), 'utf8')) as Running;
  }

  /** Pulls the plug: nothing inside gets to say goodbye. The disk stays. */
  async halt(): Promise<void> {
    const { index, names } = this.#plan;
    const namespace = names.host(index);
    this.#running = undefined;
    await removeCgroups((name) => name === namespace);
    // The kernel takes a namespace's devices down later, in its own time; the next boot needs the name now.
    await ipBatch(names.router(index), 'link del lan\n');
    await must(['ip', 'netns', 'del', namespace]);
  }

  /** Pulls the plug, then boots from the same disk. */
  async reboot(): Promise<void> {
    await this.halt();
    await this.boot();
  }

  /**
   * Runs a command to its end inside the host.
   * @throws FairleadError `timed_out` (default 60 s)
   */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run(this.#entering(argv), { ...options, env: environment(options.env) });
  }

  /** As {@link exec}, for commands that must succeed; answers with stdout. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return must(this.#entering(argv), { ...options, env: environment(options.env) });
  }

  /** Starts a command inside the host. Signals to the child are handed on to it, and killing the child kills it. */
  spawn(argv: readonly string[], options: { env?: NodeJS.ProcessEnv; stdio?: StdioOptions } = {}): ChildProcess {
    const [program = '', ...args] = this.#entering(argv);
    return spawn(program, args, { stdio: options.stdio ?? 'pipe', env: environment(options.env) });
  }

  /** Fills /var/lib/fairlead to the last byte; only for hosts with a small disk. */
  async fillDisk(): Promise<void> {
    if (this.#plan.disk === undefined) {
      throw new FairleadError(
        'wrong_state',
        `${this.name} uses the machine's own disk: give the lab a "disk" size to fill.`,
      );
    }
    // In falling pieces: the last whole 64 KiB leave room for small files.
    for (const piece of ['64k', '1k']) {
      await this.exec(['dd', 'if=/dev/zero', `of=${FILLER}`, `bs=${piece}`, 'oflag=append', 'conv=notrunc'], {
        timeoutMs: FILL_TIMEOUT_MS,
      });
    }
  }

  /** Takes back {@link fillDisk}. */
  async freeDisk(): Promise<void> {
    await this.must(['rm', '-f', FILLER]);
  }

  #entering(argv: readonly string[]): string[] {
    const { pid, cgroups } = this.#up();
    return ['bash', EXEC, String(pid), ...cgroups, '--', ...argv];
  }

  #up(): Running {
    if (this.#running) return this.#running;
    throw new FairleadError('wrong_state', `${this.name} is not running: boot it first.`);
  }
}

function environment(given: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { PATH: SEARCH_PATH, HOME: '/root', TERM: 'xterm', LANG: 'C.UTF-8', ...given };
}

/** Starts a host's pid 1, which outlives this process; answers with its pid once the host is up. */
async function startHost(folder: string, args: string[]): Promise<number> {
  const log = await open(join(folder, 'log'), 'w');
  const child = spawn('bash', [START, ...args], {
    stdio: ['ignore', log.fd, log.fd, 'pipe'],
    env: environment(),
    detached: true,
  });
  child.unref();
  await log.close();
  // Not to the end: unshare stays as the parent of pid 1 and holds on to the pipe. No word at all means that it failed.
  for await (const pid of child.stdio[3] as Readable) return Number(pid);
  const why = await readFile(join(folder, 'log'), 'utf8');
  throw new FairleadError('internal', `A virtual host did not start. Its log says: ${why.trim()}`);
}
