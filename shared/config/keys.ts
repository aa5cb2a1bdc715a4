/**
 * LXD's instance options: what each takes, its default, whether a running instance follows a change, and its class in
 * the restriction check (threat model §2.6). Facts from LXD's and Incus's `instance/config.go`. A key that is not here
 * does not exist, so forgetting one refuses it.
 */
import { FairleadError } from '../errors.ts';
import type { Config } from '../lxd/maps.ts';
import { quote } from '../lxd/parse.ts';
import * as v from './values.ts';

/** `free` to `volatile` need nobody's permission; each of the others needs its own. */
export type KeyClass =
  | 'free'
  | 'environment'
  | 'volatile'
  | 'privilege'
  | 'nesting'
  | 'interception'
  | 'modules'
  | 'rawLxc'
  | 'lowLevel';

export interface KeySpec {
  /** The key, or a family such as `user.*`. */
  readonly name: string;
  readonly kind: v.Kind<unknown>;
  /** What an absent or empty value means; '' where there is no such value. */
  readonly default: string;
  /** Whether a running instance follows a change (`live`) or only its next start does. */
  readonly when: 'live' | 'restart';
  readonly class: KeyClass;
}

type Row = readonly [name: string, kind: v.Kind<unknown>, byDefault: string, when: KeySpec['when'], of: KeyClass];
type Family = readonly [pattern: RegExp, ...Row];

/** A longer key is refused before any pattern sees it. */
const MAX_KEY = 255;
const MAX_KEYS = 1024;
/** Of keys and values together, in UTF-16 units. */
const MAX_CONFIG = 256 * 1024;
const MAX_PROBLEMS = 5;

const KEYS: readonly Row[] = [
  ['boot.autostart', v.bool, '', 'live', 'free'],
  ['boot.autostart.delay', v.integer, '0', 'live', 'free'],
  ['boot.autostart.priority', v.integer, '0', 'live', 'free'],
  ['boot.stop.priority', v.integer, '0', 'live', 'free'],
  ['boot.host_shutdown_timeout', v.integer, '30', 'live', 'lowLevel'],
  ['boot.host_shutdown_action', v.oneOf('stop', 'force-stop', 'stateful-stop'), 'stop', 'live', 'lowLevel'],
  ['cloud-init.network-config', v.block, '', 'restart', 'free'],
  ['cloud-init.user-data', v.block, '', 'restart', 'free'],
  ['cloud-init.vendor-data', v.block, '', 'restart', 'free'],
  ['cluster.evacuate', v.oneOf('auto', 'migrate', 'live-migrate', 'stop'), 'auto', 'live', 'free'],
  ['limits.cpu', v.cpu, '', 'live', 'free'],
  ['limits.cpu.allowance', v.cpuAllowance, '100%', 'live', 'free'],
  ['limits.cpu.nodes', v.cpuSet, '', 'live', 'free'],
  ['limits.cpu.priority', v.priority, '10', 'live', 'free'],
  ['limits.disk.priority', v.priority, '5', 'live', 'free'],
  ['limits.hugepages.64KB', v.size, '', 'live', 'free'],
  ['limits.hugepages.1MB', v.size, '', 'live', 'free'],
  ['limits.hugepages.2MB', v.size, '', 'live', 'free'],
  ['limits.hugepages.1GB', v.size, '', 'live', 'free'],
  ['limits.memory', v.memory, '', 'live', 'free'],
  ['limits.memory.enforce', v.oneOf('hard', 'soft'), 'hard', 'live', 'free'],
  ['limits.memory.oom_priority', v.integer, '0', 'live', 'lowLevel'],
  ['limits.memory.swap', v.swap, 'true', 'live', 'lowLevel'],
  ['limits.memory.swap.priority', v.priority, '10', 'live', 'free'],
  ['limits.network.priority', v.priority, '0', 'live', 'free'],
  ['limits.processes', v.positive, '', 'live', 'free'],
  ['linux.kernel_modules', v.modules, '', 'restart', 'modules'],
  ['migration.incremental.memory', v.bool, 'false', 'live', 'free'],
  ['migration.incremental.memory.goal', v.uint32, '70', 'live', 'free'],
  ['migration.incremental.memory.iterations', v.uint32, '10', 'live', 'free'],
  ['migration.stateful', v.bool, 'false', 'live', 'free'],
  ['nvidia.driver.capabilities', v.line, 'compute,utility', 'restart', 'lowLevel'],
  ['nvidia.require.cuda', v.line, '', 'restart', 'lowLevel'],
  ['nvidia.require.driver', v.line, '', 'restart', 'lowLevel'],
  ['nvidia.runtime', v.bool, 'false', 'restart', 'lowLevel'],
  ['raw.apparmor', v.block, '', 'restart', 'lowLevel'],
  ['raw.idmap', v.idmaps, '', 'restart', 'lowLevel'],
  ['raw.lxc', v.rawLxc, '', 'restart', 'rawLxc'],
  ['raw.seccomp', v.block, '', 'restart', 'lowLevel'],
  // There is no guest API, so unlike in LXD these are off by default.
  ['security.devlxd', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.devlxd.images', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.guestapi', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.guestapi.images', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.idmap.base', v.uint32, '', 'restart', 'lowLevel'],
  ['security.idmap.isolated', v.bool, 'false', 'restart', 'free'],
  ['security.idmap.size', v.uint32, '', 'restart', 'lowLevel'],
  ['security.nesting', v.bool, 'false', 'restart', 'nesting'],
  ['security.privileged', v.bool, 'false', 'restart', 'privilege'],
  ['security.protection.delete', v.bool, 'false', 'live', 'free'],
  ['security.protection.shift', v.bool, 'false', 'live', 'free'],
  ['security.syscalls.allow', v.syscalls, '', 'restart', 'lowLevel'],
  ['security.syscalls.blacklist', v.syscalls, '', 'restart', 'lowLevel'],
  ['security.syscalls.blacklist_compat', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.syscalls.blacklist_default', v.bool, 'true', 'restart', 'lowLevel'],
  ['security.syscalls.deny', v.syscalls, '', 'restart', 'lowLevel'],
  ['security.syscalls.deny_compat', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.syscalls.deny_default', v.bool, 'true', 'restart', 'lowLevel'],
  ['security.syscalls.intercept.bpf', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.intercept.bpf.devices', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.intercept.mknod', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.intercept.mount', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.intercept.mount.allowed', v.filesystems, '', 'restart', 'lowLevel'],
  ['security.syscalls.intercept.mount.fuse', v.filesystems, '', 'restart', 'interception'],
  ['security.syscalls.intercept.mount.shift', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.syscalls.intercept.sched_setscheduler', v.bool, 'false', 'restart', 'lowLevel'],
  ['security.syscalls.intercept.setxattr', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.intercept.sysinfo', v.bool, 'false', 'restart', 'interception'],
  ['security.syscalls.whitelist', v.syscalls, '', 'restart', 'lowLevel'],
  ['snapshots.expiry', v.expiry, '', 'live', 'free'],
  ['snapshots.pattern', v.snapshotPattern, 'snap%d', 'live', 'free'],
  ['snapshots.schedule', v.schedule, '', 'live', 'free'],
  ['snapshots.schedule.stopped', v.bool, 'false', 'live', 'free'],
];

/** The first that matches counts. */
const FAMILIES: readonly Family[] = [
  [/^environment\.[A-Za-z_][A-Za-z0-9_]*$/, 'environment.*', v.line, '', 'live', 'environment'],
  [/^user\.[\x21-\x7e]+$/, 'user.*', v.block, '', 'live', 'free'],
  [/^image\.[\x21-\x7e]+$/, 'image.*', v.block, '', 'live', 'free'],
  [/^volatile\.[A-Za-z0-9._:-]+$/, 'volatile.*', v.line, '', 'live', 'volatile'],
  [
    /^limits\.kernel\.(?:as|core|cpu|data|fsize|locks|memlock|msgqueue|nofile|nproc|rss|sigpending|stack)$/,
    ...(['limits.kernel.*', v.rlimit, '', 'restart', 'free'] as const),
  ],
  // Priorities over what else runs on the host.
  [/^limits\.kernel\.(?:nice|rtprio|rttime)$/, 'limits.kernel.*', v.rlimit, '', 'restart', 'lowLevel'],
  // What belongs to the container's own network and IPC namespaces.
  [
    /^linux\.sysctl\.(?:net\.ipv[46]\.[A-Za-z0-9_./-]+|net\.core\.somaxconn|kernel\.(?:shm|msg)[a-z_]+|kernel\.sem|fs\.mqueue\.[a-z_]+)$/,
    ...(['linux.sysctl.*', v.line, '', 'restart', 'free'] as const),
  ],
  [/^linux\.sysctl\.[A-Za-z0-9_][A-Za-z0-9_./-]*$/, 'linux.sysctl.*', v.line, '', 'restart', 'lowLevel'],
];

const BY_KEY = new Map(KEYS.map((row) => [row[0], spec(row)]));
const BY_PATTERN = FAMILIES.map(([pattern, ...row]) => ({ pattern, spec: spec(row) }));

function spec([name, kind, byDefault, when, of]: Row): KeySpec {
  return { name, kind, default: byDefault, when, class: of };
}

/** Every key and family, for documentation and tests. */
export const KEY_SPECS: readonly KeySpec[] = [...BY_KEY.values(), ...BY_PATTERN.map((family) => family.spec)];

/** What a key means, or undefined when there is no such key. */
export function keySpec(key: string): KeySpec | undefined {
  if (key.length > MAX_KEY || key.includes('..')) return undefined;
  return BY_KEY.get(key) ?? BY_PATTERN.find(({ pattern }) => pattern.test(key))?.spec;
}

/** Why this key or its value is refused, as a sentence without full stop; undefined when it is fine. */
export function keyProblem(key: string, value: string): string | undefined {
  const found = keySpec(key);
  if (found === undefined) return unknownKey(key);
  const problem = v.valueProblem(found.kind, value);
  return problem === undefined ? undefined : `${key} ${problem}`;
}

function unknownKey(key: string): string {
  const hint = key.startsWith('environment.')
    ? 'the name of a variable is letters, digits and _, not beginning with a digit'
    : 'keys of your own begin with "user."';
  return `Unknown configuration key: ${quote(key)} (${hint})`;
}

/** Throws `bad_config` naming up to five wrong keys or values. Every configuration from outside passes here. */
export function validateConfig(config: Config): void {
  const entries = Object.entries(config);
  const size = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  if (entries.length > MAX_KEYS || size > MAX_CONFIG) {
    throw new FairleadError(
      'bad_config',
      `The configuration is too large: allowed are ${MAX_KEYS} keys and ${MAX_CONFIG / 1024} KiB. Put larger data into the image or a disk.`,
    );
  }
  const problems = entries.map(([key, value]) => keyProblem(key, value)).filter((problem) => problem !== undefined);
  if (problems.length > 0) throw new FairleadError('bad_config', `${problems.slice(0, MAX_PROBLEMS).join('; ')}.`);
}

/** The value that counts: the one given, or else the key's default. */
export function effectiveValue(config: Config, key: string): string {
  const given = Object.hasOwn(config, key) ? config[key] : undefined;
  return given === undefined || given === '' ? (keySpec(key)?.default ?? '') : given;
}

/** A boolean option as it counts; an absent one by its default. Throws `bad_config` when it is no boolean. */
export function isOn(config: Config, key: string): boolean {
  const value = effectiveValue(config, key);
  return value !== '' && v.readValue(v.bool, key, value);
}
