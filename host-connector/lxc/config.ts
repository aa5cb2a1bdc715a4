/**
 * A container's LXC configuration. One function writes it: base, then what the user asked for, then the hardening block,
 * which takes back whatever raw.lxc may have done to it (security note 6.1; an empty value resets a list). Pure.
 */
import { FairleadError } from '#shared/errors.ts';
import { isOn } from '#shared/config/keys.ts';
import { limitsOf, type Limits } from '#shared/config/limits.ts';
import { readRawLxc } from '#shared/config/rawLxc.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import { CONSOLE_LOG_BYTES } from './console.ts';
import { hardening } from './hardening.ts';
import { limitFiles, type LimitHost } from './limits.ts';
import type { Nic } from './nics.ts';

/** One bind mount. `target` is absolute inside the container. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly create: 'dir' | 'file';
  readonly readonly: boolean;
  readonly recursive: boolean;
  readonly optional: boolean;
  /** Show the source's owners shifted into the container's id map. */
  readonly shift: boolean;
}

/** A device the container may open. */
export interface DeviceNode {
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
}

/** Everything a configuration is made from. Whether it is allowed was checked before. */
export interface Container {
  readonly spec: InstanceSpec;
  readonly limits: Limits;
  /** The mounted root filesystem. */
  readonly rootfs: string;
  /** Host ids of the container's 0 to size - 1; not used for a privileged one. */
  readonly idmap: { readonly base: number; readonly size: number };
  readonly host: LimitHost & { readonly apparmor: boolean };
  readonly nics: readonly Nic[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly DeviceNode[];
  readonly paths: { readonly consoleLog: string; readonly seccomp: string };
}

/** A key with its value. */
export type Entry = readonly [key: string, value: string];

/** These have a limit by default; the others are written only to change what the kernel does anyway. */
const ALWAYS_LIMITED = new Set(['pids.max', 'memory.limit_in_bytes', 'memory.max']);
const MAX_VALUE_BYTES = 64 * 1024;
const ARCHITECTURES = new Set(['x86_64', 'i686', 'aarch64', 'armv7l', 'ppc64le', 's390x', 'riscv64']);

/**
 * The text of the configuration file.
 * @throws FairleadError `bad_config` for a value that would be more than a value (a control character, M15)
 */
export function renderConfig(container: Container): string {
  const entries = [...base(container), ...userDerived(container), ...rawLines(container), ...hardening(container)];
  return entries.map(renderEntry).join('');
}

function renderEntry([key, value]: Entry): string {
  if (!/^lxc\.[A-Za-z0-9_.-]+$/.test(key)) throw refused(key, 'is no key');
  // liblxc ends a line at CR as well as at LF; NUL cuts it.
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(value)) throw refused(key, 'has a control character in its value');
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw refused(key, 'has a value of more than 64 KiB');
  return `${key} = ${value}\n`;
}

function refused(key: string, why: string): FairleadError {
  return new FairleadError(
    'bad_config',
    `The instance's configuration cannot be written: ${JSON.stringify(key)} ${why}; correct it`,
  );
}

function base({ spec, nics, paths }: Container): Entry[] {
  // CRIU cannot dump a console that ends in a terminal of the host.
  const console: Entry[] = isOn(spec.config, 'migration.stateful')
    ? [['lxc.console.path', 'none']]
    : [
        ['lxc.console.logfile', paths.consoleLog],
        ['lxc.console.size', `${CONSOLE_LOG_BYTES}`],
        ['lxc.console.buffer.size', `${CONSOLE_LOG_BYTES}`],
      ];
  return [
    ['lxc.uts.name', spec.name],
    ...(ARCHITECTURES.has(spec.architecture) ? [['lxc.arch', spec.architecture] as const] : []),
    ['lxc.init.cmd', '/sbin/init'],
    ...console,
    ...nics.flatMap(nicEntries),
  ];
}

function nicEntries(nic: Nic, index: number): Entry[] {
  const key = `lxc.net.${index}`;
  return [
    [`${key}.type`, 'veth'],
    [`${key}.flags`, 'up'],
    [`${key}.link`, nic.bridge],
    [`${key}.name`, nic.name],
    [`${key}.veth.pair`, nic.hostName],
    [`${key}.hwaddr`, nic.hwaddr],
    ...(nic.mtu === undefined ? [] : [[`${key}.mtu`, `${nic.mtu}`] as const]),
  ];
}

function userDerived(container: Container): Entry[] {
  const { spec, limits, host } = container;
  const version = host.cgroup === 'v2' ? 'lxc.cgroup2' : 'lxc.cgroup';
  const files = limitFiles(limits, host, spec.id, isOn(spec.config, 'security.nesting'));
  const unlimited = limitFiles(limitsOf({}), host, spec.id, false);
  return [
    ...family(spec, 'environment.').map(environmentEntry),
    ...family(spec, 'linux.sysctl.').map(([name, value]): Entry => [`lxc.sysctl.${name}`, value]),
    ...[...files]
      .filter(([file, value]) => ALWAYS_LIMITED.has(file) || unlimited.get(file) !== value)
      .map(([file, value]): Entry => [`${version}.${file}`, value]),
    ...Object.entries(limits.rlimits).map(([name, { soft, hard }]): Entry => [
      `lxc.prlimit.${name}`,
      `${soft}:${hard}`,
    ]),
    ...(limits.oomPriority === 0 ? [] : [['lxc.proc.oom_score_adj', `${limits.oomPriority}`] as const]),
    ...container.mounts.map(mountEntry),
  ];
}

function family(spec: InstanceSpec, prefix: string): [string, string][] {
  return Object.entries(spec.config)
    .filter(([key, value]) => key.startsWith(prefix) && value !== '')
    .map(([key, value]) => [key.slice(prefix.length), value]);
}

/** liblxc trims a value and takes off one pair of quotes around it: ours keep the user's blanks and quotes. */
function environmentEntry([name, value]: [string, string]): Entry {
  return ['lxc.environment', `"${name}=${value}"`];
}

function mountEntry(mount: Mount): Entry {
  const options = [
    mount.recursive ? 'rbind' : 'bind',
    ...(mount.readonly ? ['ro'] : []),
    `create=${mount.create}`,
    ...(mount.optional ? ['optional'] : []),
    ...(mount.shift ? ['idmap=container'] : []),
  ];
  return [
    'lxc.mount.entry',
    `${fstab(mount.source)} ${fstab(mount.target.replace(/^\/+/, ''))} none ${options.join(',')} 0 0`,
  ];
}

/** fstab's way to write a blank or backslash in a path. */
function fstab(path: string): string {
  return path.replaceAll(/[ \\]/g, (character) => (character === ' ' ? '\\040' : '\\134'));
}

function rawLines({ spec }: Container): Entry[] {
  return readRawLxc(spec.config['raw.lxc'] ?? '').map(({ key, value, problem }) => {
    if (problem !== undefined) throw refused(key, problem);
    return [key, value];
  });
}
