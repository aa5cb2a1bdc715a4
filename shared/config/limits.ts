/** Resource limits of an effective configuration, read into numbers. How they become cgroup files is the host's matter. */
import type { Config } from '../lxd/maps.ts';
import { effectiveValue } from './keys.ts';
import type { CpuAllowance, Rlimit } from './quantities.ts';
import * as v from './values.ts';

/** Sizes in bytes. What is absent is not limited. */
export interface Limits {
  memoryBytes?: number;
  /** Of the host's memory; instead of `memoryBytes`. */
  memoryPercent?: number;
  memoryEnforce: 'hard' | 'soft';
  /** Whether pages may be swapped out, or how many bytes of them. */
  swap: boolean | number;
  /** 0 to 10; the higher, the less is swapped. */
  swapPriority: number;
  /** So many processors, chosen by the host. */
  cpuCount?: number;
  /** These processors; instead of `cpuCount`. */
  cpuSet?: readonly number[];
  /** NUMA nodes. */
  cpuNodes?: readonly number[];
  cpuAllowance: CpuAllowance;
  /** 0 to 10, as are the other priorities. */
  cpuPriority: number;
  diskPriority: number;
  networkPriority: number;
  processes?: number;
  oomPriority: number;
  /** By page size as in the key: "2MB". */
  hugepages: Record<string, number>;
  /** By the kernel's name without RLIMIT_, lower case: "nofile". */
  rlimits: Record<string, Rlimit>;
}

/** Reads all `limits.*` of an effective configuration. Throws `bad_config` for a value that does not read. */
export function limitsOf(config: Config): Limits {
  const required = <T>(key: string, kind: v.Kind<T>): T => v.readValue(kind, key, effectiveValue(config, key));
  const optional = <T>(key: string, kind: v.Kind<T>): T | undefined =>
    effectiveValue(config, key) === '' ? undefined : required(key, kind);
  const family = <T>(prefix: string, kind: v.Kind<T>): Record<string, T> =>
    Object.fromEntries(
      Object.keys(config)
        .filter((key) => key.startsWith(prefix) && config[key] !== '')
        .map((key) => [key.slice(prefix.length), required(key, kind)]),
    );

  const memory = optional('limits.memory', v.memory);
  const cpu = optional('limits.cpu', v.cpu);
  const cpuNodes = optional('limits.cpu.nodes', v.cpuSet);
  const processes = optional('limits.processes', v.positive);
  return {
    ...(memory && ('bytes' in memory ? { memoryBytes: memory.bytes } : { memoryPercent: memory.percent })),
    memoryEnforce: required('limits.memory.enforce', v.oneOf('hard', 'soft')),
    swap: required('limits.memory.swap', v.swap),
    swapPriority: required('limits.memory.swap.priority', v.priority),
    ...(cpu && ('count' in cpu ? { cpuCount: cpu.count } : { cpuSet: cpu.set })),
    ...(cpuNodes && { cpuNodes }),
    cpuAllowance: required('limits.cpu.allowance', v.cpuAllowance),
    cpuPriority: required('limits.cpu.priority', v.priority),
    diskPriority: required('limits.disk.priority', v.priority),
    networkPriority: required('limits.network.priority', v.priority),
    ...(processes !== undefined && { processes }),
    oomPriority: required('limits.memory.oom_priority', v.integer),
    hugepages: family('limits.hugepages.', v.size),
    rlimits: family('limits.kernel.', v.rlimit),
  };
}
