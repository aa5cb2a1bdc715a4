/** An instance as it is now: the numbers of LXD's instance state, from cgroup files and one look into its network. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Measurement } from '#shared/link/commands.ts';
import type { Run } from '../process.ts';
import { groupFolder, type Cgroups } from './cgroup.ts';
import { parseAddresses } from './interfaces.ts';
import type { LiveState } from './runtime.ts';
import { TOOL_TIMEOUT_MS } from './tools.ts';

/** What a measurement needs to know. */
export interface MeasureInput {
  readonly id: string;
  readonly live: LiveState;
  readonly cgroups: Cgroups;
  /** The host's memory, in bytes: what an instance without a limit may use. */
  readonly hostMemory: number;
  /** Names of the interfaces inside with the names of their other ends on the host. */
  readonly hostNames: Readonly<Record<string, string>>;
  /** What the storage driver says about the instance's disks. */
  readonly disk: Measurement['disk'];
  readonly run: Run;
}

/** Measures. An instance that stops meanwhile is answered with zeros. */
export async function measure(input: MeasureInput): Promise<Measurement> {
  const { disk } = input;
  const { status, pid } = input.live;
  const procCgroup = pid === 0 ? '' : await text(`/proc/${pid}/cgroup`);
  if (procCgroup === '') return { ...STOPPED, status, disk };
  const group = (controller: string, file: string): Promise<string> => {
    const folder = groupFolder(input.cgroups, procCgroup, input.id, controller);
    return folder === undefined ? Promise.resolve('') : text(join(folder, file));
  };
  const read = input.cgroups.layout === 'v2' ? readV2 : readV1;
  const [counters, network] = await Promise.all([read(group, input.hostMemory), networkOf(input)]);
  return { status, pid, disk, network, ...counters };
}

type Counters = Pick<Measurement, 'processes' | 'cpu' | 'memory'>;
type GroupFile = (controller: string, file: string) => Promise<string>;

const STOPPED = {
  pid: 0,
  processes: 0,
  cpu: { usage: 0 },
  memory: { usage: 0, usage_peak: 0, total: 0, swap_usage: 0, swap_usage_peak: 0 },
  network: {},
} as const;

async function readV1(file: GroupFile, hostMemory: number): Promise<Counters> {
  const memory = (name: string): Promise<number> => file('memory', `memory.${name}`).then(count);
  const [processes, cpu, usage, peak, limit, both, bothPeak] = await Promise.all([
    file('pids', 'pids.current').then(count),
    file('cpuacct', 'cpuacct.usage').then(count),
    memory('usage_in_bytes'),
    memory('max_usage_in_bytes'),
    memory('limit_in_bytes'),
    memory('memsw.usage_in_bytes'),
    memory('memsw.max_usage_in_bytes'),
  ]);
  return {
    processes,
    cpu: { usage: cpu },
    memory: {
      usage,
      usage_peak: peak,
      total: Math.min(limit || hostMemory, hostMemory),
      // The kernel counts memory and swap together.
      swap_usage: Math.max(0, both - usage),
      swap_usage_peak: Math.max(0, bothPeak - peak),
    },
  };
}

async function readV2(file: GroupFile, hostMemory: number): Promise<Counters> {
  const memory = (name: string): Promise<number> => file('memory', `memory.${name}`).then(count);
  const [processes, cpu, usage, peak, limit, swap, swapPeak] = await Promise.all([
    file('pids', 'pids.current').then(count),
    file('cpu', 'cpu.stat').then((stat) => count(/^usage_usec (\d+)$/m.exec(stat)?.[1] ?? '')),
    memory('current'),
    memory('peak'),
    memory('max'),
    memory('swap.current'),
    memory('swap.peak'),
  ]);
  return {
    processes,
    cpu: { usage: cpu * 1000 },
    memory: {
      usage,
      usage_peak: peak,
      total: Math.min(limit || hostMemory, hostMemory),
      swap_usage: swap,
      swap_usage_peak: swapPeak,
    },
  };
}

async function networkOf(input: MeasureInput): Promise<Measurement['network']> {
  const argv = ['nsenter', '-t', `${input.live.pid}`, '-n', '--', 'ip', '-j', '-s', 'addr', 'show'] as const;
  const { code, stdout } = await input.run(argv, { timeoutMs: TOOL_TIMEOUT_MS });
  return code === 0 ? parseAddresses(stdout, input.hostNames) : {};
}

/** "max" and whatever else is no number: 0. */
function count(value: string): number {
  const number = Number(value.trim());
  return Number.isFinite(number) ? number : 0;
}

/** A file of a group that may vanish, or that this kernel does not have: ''. */
async function text(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ESRCH' || code === 'EOPNOTSUPP') return '';
    throw error;
  }
}
