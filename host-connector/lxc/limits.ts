/** Limits as the control group files that enforce them. Pure; the configuration and a live change use the same list. */
import { createHash } from 'node:crypto';
import type { Limits } from '#shared/config/limits.ts';
import type { CgroupLayout } from './cgroup.ts';

/** What a host's kernel offers to a limit. */
export interface LimitHost {
  readonly cgroup: CgroupLayout;
  /** How many processors it has, numbered from 0. */
  readonly cpus: number;
  /** Bytes of memory. */
  readonly memory: number;
  /** Whether v1 counts swap (`memory.memsw.*` exists). */
  readonly swapLimit: boolean;
}

/** For an instance that sets no limit itself, so that one alone cannot take its host down (security note 6.1). */
const DEFAULT_PROCESSES = { plain: 4096, nesting: 16_384 };
const DEFAULT_MEMORY_SHARE = 0.8;

/** LXD's scale of the two kernels' shares, and its default period. */
const FULL_SHARE = { v1: 1024, v2: 100 };
const MIN_SHARE = { v1: 2, v2: 1 };
const HIGHEST_PRIORITY = 10;
const PERIOD_US = 100_000;
const DEFAULT_SWAPPINESS = 60;
const PAGE = 4096;

/**
 * Every file a limit lives in, with its value: also those that say "no limit", so that the difference of two such lists
 * is a live change. `id` spreads instances over the processors.
 */
export function limitFiles(limits: Limits, host: LimitHost, id: string, nesting: boolean): ReadonlyMap<string, string> {
  const processes = limits.processes ?? (nesting ? DEFAULT_PROCESSES.nesting : DEFAULT_PROCESSES.plain);
  const files: [string, string][] = [
    ['pids.max', `${processes}`],
    ['cpuset.cpus', processors(limits, host, id).join(',')],
    ...(limits.cpuNodes ? [['cpuset.mems', limits.cpuNodes.join(',')] as [string, string]] : []),
    ...(host.cgroup === 'v2'
      ? [...memoryV2(limits, host), ...cpuV2(limits)]
      : [...memoryV1(limits, host), ...cpuV1(limits)]),
  ];
  return new Map(files);
}

/** The files that differ from one list to the next, in an order in which memory limits may be raised and lowered. */
export function changedFiles(old: ReadonlyMap<string, string>, next: ReadonlyMap<string, string>): [string, string][] {
  const changed = [...next].filter(([file, value]) => old.get(file) !== value);
  // v1 refuses a limit above the sum of memory and swap, and a sum below the limit.
  const raised = Number(next.get('memory.limit_in_bytes')) > Number(old.get('memory.limit_in_bytes'));
  return raised ? changed.reverse() : changed;
}

/** The processors an instance may use: those named, or so many in a row from a place that depends on its id. */
function processors(limits: Limits, host: LimitHost, id: string): number[] {
  if (limits.cpuSet) return [...limits.cpuSet];
  const count = Math.min(limits.cpuCount ?? host.cpus, host.cpus);
  const first = count === host.cpus ? 0 : createHash('sha256').update(id).digest().readUInt32BE(0) % host.cpus;
  return Array.from({ length: count }, (_, at) => (first + at) % host.cpus).sort((a, b) => a - b);
}

/** `hard` is what may be used, `soft` what is left when the host needs memory, `swap` what may be used beyond `hard`. */
function memoryOf(limits: Limits, host: LimitHost): { hard: number; soft?: number; swap: number | 'max' } {
  const fallback = pages(host.memory * DEFAULT_MEMORY_SHARE);
  const wanted =
    limits.memoryBytes ??
    (limits.memoryPercent === undefined ? undefined : pages((host.memory * limits.memoryPercent) / 100));
  const isHard = wanted !== undefined && limits.memoryEnforce === 'hard';
  // As LXD: a hard limit is one of memory and swap together, unless a size for swap is given.
  const swap = typeof limits.swap === 'number' ? limits.swap : isHard || !limits.swap ? 0 : 'max';
  return { hard: isHard ? wanted : fallback, swap, ...(wanted !== undefined && !isHard && { soft: wanted }) };
}

function memoryV1(limits: Limits, host: LimitHost): [string, string][] {
  const { hard, soft, swap } = memoryOf(limits, host);
  const swappiness = limits.swap === false ? 0 : DEFAULT_SWAPPINESS + HIGHEST_PRIORITY - limits.swapPriority;
  return [
    ['memory.limit_in_bytes', `${hard}`],
    ...(host.swapLimit
      ? [['memory.memsw.limit_in_bytes', `${swap === 'max' ? -1 : hard + swap}`] as [string, string]]
      : []),
    ['memory.soft_limit_in_bytes', `${soft ?? -1}`],
    ['memory.swappiness', `${swappiness}`],
  ];
}

function memoryV2(limits: Limits, host: LimitHost): [string, string][] {
  const { hard, soft, swap } = memoryOf(limits, host);
  return [
    ['memory.max', `${hard}`],
    ['memory.high', `${soft ?? 'max'}`],
    ...(host.swapLimit ? [['memory.swap.max', `${swap}`] as [string, string]] : []),
  ];
}

function cpuV1(limits: Limits): [string, string][] {
  const { quota, period } = quotaOf(limits);
  return [
    ['cpu.shares', `${shareOf(limits, FULL_SHARE.v1, MIN_SHARE.v1)}`],
    ['cpu.cfs_period_us', `${period}`],
    ['cpu.cfs_quota_us', `${quota ?? -1}`],
  ];
}

function cpuV2(limits: Limits): [string, string][] {
  const { quota, period } = quotaOf(limits);
  return [
    ['cpu.weight', `${shareOf(limits, FULL_SHARE.v2, MIN_SHARE.v2)}`],
    ['cpu.max', `${quota ?? 'max'} ${period}`],
  ];
}

function quotaOf({ cpuAllowance }: Limits): { quota: number | undefined; period: number } {
  if ('percent' in cpuAllowance) return { quota: undefined, period: PERIOD_US };
  return { quota: cpuAllowance.quotaMicros, period: cpuAllowance.periodMicros };
}

/** LXD: a percentage of the full share, less one for each step of priority below the highest. */
function shareOf(limits: Limits, full: number, least: number): number {
  const percent = 'percent' in limits.cpuAllowance ? limits.cpuAllowance.percent : 100;
  return Math.max(least, Math.floor((full * percent) / 100) - (HIGHEST_PRIORITY - limits.cpuPriority));
}

function pages(bytes: number): number {
  return Math.floor(bytes / PAGE) * PAGE;
}
