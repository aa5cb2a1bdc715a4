/**
 * The one choke point for what an instance may be configured to do (threat model §2.6, requirements R20 to R22). Every way
 * in calls {@link assertAllowed} on the merged result right before it is written: create, copy, move, every change of
 * instance or profile, restore, import. The control plane passes the project's ceiling; the host, not believing it, its own.
 */
import { FairleadError } from '../errors.ts';
import type { Device } from '../lxd/maps.ts';
import { quote } from '../lxd/parse.ts';
import { deviceType, validateDevices, type DeviceType } from './devices.ts';
import type { Effective } from './expand.ts';
import { effectiveValue, keySpec, validateConfig, type KeyClass } from './keys.ts';
import type { Ceiling } from './policy.ts';
import { bool, modules, type Kind } from './values.ts';

export interface Violation {
  /** `security.privileged`, or `devices.NAME.OPTION`. */
  readonly key: string;
  readonly class: KeyClass | 'unknown' | 'nic' | 'disk' | 'unix';
  /** A phrase for the user. */
  readonly reason: string;
}

/** Whose ceiling it is decides the error code: `forbidden` or `forbidden_by_host`. */
export type CeilingOwner = 'project' | 'host';

const MAX_NAMED = 5;

const PERMISSION: Readonly<Record<Exclude<KeyClass, 'modules'>, (ceiling: Ceiling) => boolean>> = {
  free: () => true,
  environment: () => true,
  // Written by us; what a user sends of them is dropped on the way in (volatile.ts).
  volatile: () => true,
  privilege: (ceiling) => ceiling.privileged,
  nesting: (ceiling) => ceiling.nesting,
  interception: (ceiling) => ceiling.interception,
  rawLxc: (ceiling) => ceiling.rawLxc,
  lowLevel: (ceiling) => ceiling.lowLevel,
};

const REASON: Readonly<Record<KeyClass, string>> = {
  free: '',
  environment: '',
  volatile: '',
  privilege: 'privileged containers are not allowed',
  nesting: 'containers inside containers are not allowed',
  interception: 'intercepting system calls is not allowed',
  modules: 'loading these kernel modules is not allowed',
  rawLxc: 'raw LXC configuration is not allowed',
  lowLevel: 'low-level options are not allowed',
};

/** Everything in an effective configuration that goes beyond the ceiling. A key that does not exist is beyond every ceiling. */
export function checkEffective({ config, devices }: Readonly<Effective>, ceiling: Ceiling): Violation[] {
  return [
    ...Object.entries(config).flatMap(([key, value]) => keyViolations(key, value, ceiling)),
    ...isolationViolations(config, ceiling),
    ...Object.entries(devices).flatMap(([name, device]) => deviceViolations(name, device, ceiling)),
  ];
}

/**
 * Validates every key, value and device, then holds them against the ceiling. Throws `bad_config` for what is not valid
 * at all, `forbidden` or `forbidden_by_host` for what is beyond the ceiling.
 */
export function assertAllowed(effective: Readonly<Effective>, ceiling: Ceiling, owner: CeilingOwner): void {
  validateConfig(effective.config);
  validateDevices(effective.devices);
  const violations = checkEffective(effective, ceiling);
  if (violations.length === 0) return;
  const named = violations.slice(0, MAX_NAMED).map(({ key, reason }) => `${key} (${reason})`);
  const more = violations.length > MAX_NAMED ? ` and ${violations.length - MAX_NAMED} more` : '';
  throw owner === 'project'
    ? new FairleadError(
        'forbidden',
        `This project does not allow ${named.join(', ')}${more}. Remove it, or ask a fleet administrator to relax the project's restrictions.`,
      )
    : new FairleadError(
        'forbidden_by_host',
        `The policy of this host does not allow ${named.join(', ')}${more}. Remove it, choose another host, or change the policy file on the host.`,
      );
}

function keyViolations(key: string, value: string, ceiling: Ceiling): Violation[] {
  const spec = keySpec(key);
  if (spec === undefined) return [{ key, class: 'unknown', reason: 'there is no such key' }];
  // A key at its default asks for nothing, so spelling the default out is always allowed.
  const allowed =
    isDefault(spec.kind, spec.default, value) ||
    (spec.class === 'modules' ? modulesAllowed(value, ceiling) : PERMISSION[spec.class](ceiling));
  return allowed ? [] : [{ key, class: spec.class, reason: REASON[spec.class] }];
}

function isDefault(kind: Kind<unknown>, byDefault: string, value: string): boolean {
  if (value === '' || value === byDefault) return true;
  // Every spelling of a boolean's default is its default.
  return kind.read(byDefault) === kind.read(value) && typeof kind.read(value) === 'boolean';
}

function modulesAllowed(value: string, { kernelModules }: Ceiling): boolean {
  const asked = modules.read(value);
  return kernelModules.includes('*') || (asked?.every((name) => kernelModules.includes(name)) ?? false);
}

/** The one key that must be there: absent means its default, and that is not isolated. */
function isolationViolations(config: Effective['config'], ceiling: Ceiling): Violation[] {
  const key = 'security.idmap.isolated';
  if (!ceiling.isolated || bool.read(effectiveValue(config, key)) === true) return [];
  return [{ key, class: 'privilege', reason: 'it must be true here' }];
}

function deviceViolations(name: string, device: Device, ceiling: Ceiling): Violation[] {
  const at = (option: string, of: Violation['class'], reason: string): Violation => ({
    key: `devices.${name}.${option}`,
    class: of,
    reason,
  });
  const type = deviceType(device);
  if (type === undefined) return [at('type', 'unknown', 'there is no such device type')];
  return OF_DEVICE[type](device, ceiling).map(([option, of, reason]) => at(option, of, reason));
}

type Finding = readonly [option: string, of: Violation['class'], reason: string];

const OF_DEVICE: Readonly<Record<DeviceType, (device: Device, ceiling: Ceiling) => Finding[]>> = {
  none: () => [],
  nic: nicFindings,
  disk: diskFindings,
  'unix-char': unixFindings,
  'unix-block': unixFindings,
};

function nicFindings(device: Device, { networks, lowLevel }: Ceiling): Finding[] {
  const findings: Finding[] = [];
  for (const option of ['network', 'parent']) {
    const bridge = device[option];
    if (bridge && networks !== undefined && !networks.includes(bridge)) {
      findings.push([option, 'nic', `the network ${quote(bridge)} is not allowed`]);
    }
  }
  // A name chosen by a user could pose as another interface of the host.
  if (device['host_name'] && !lowLevel) findings.push(['host_name', 'nic', REASON.lowLevel]);
  return findings;
}

function diskFindings(device: Device, { diskSources, lowLevel }: Ceiling): Finding[] {
  const findings: Finding[] = [];
  const source = device['source'];
  if (source && !isBelow(source, diskSources)) {
    findings.push(['source', 'disk', `the host path ${quote(source)} is not allowed`]);
  }
  // Shifted ids on a path of the host: files of host root that the container's root owns (GHSA-x9qq-236j-gj97).
  if (!lowLevel && bool.read(device['shift'] || 'false') !== false) findings.push(['shift', 'disk', REASON.lowLevel]);
  if (!lowLevel && device['propagation'] && !device['propagation'].endsWith('private')) {
    findings.push(['propagation', 'disk', REASON.lowLevel]);
  }
  return findings;
}

function unixFindings(device: Device, { unixDevices }: Ceiling): Finding[] {
  if (unixDevices.includes('*')) return [];
  const findings: Finding[] = [];
  const source = device['source'] || device['path'] || '';
  if (!unixDevices.includes(source)) {
    findings.push([device['source'] ? 'source' : 'path', 'unix', `the device ${quote(source)} is not allowed`]);
  }
  // Numbers given by hand would name any device under an allowed path.
  if (device['major'] || device['minor']) {
    findings.push(['major', 'unix', 'device numbers are taken from the device file']);
  }
  return findings;
}

/**
 * True when `path` is one of `roots` or lies below one. It compares text: who opens the path must resolve symbolic links
 * first and ask again with the result (R25).
 */
export function isBelow(path: string, roots: readonly string[]): boolean {
  if (!path.startsWith('/') || path.split('/').includes('..')) return false;
  return roots.some((root) => root === '/' || path === root || path.startsWith(`${root}/`));
}
