/** Devices of an instance: which types exist, and which options each takes. */
import { FairleadError } from '../errors.ts';
import type { Device, Devices } from '../lxd/maps.ts';
import { nameProblem } from '../lxd/names.ts';
import { quote } from '../lxd/parse.ts';
import * as v from './values.ts';

export const DEVICE_TYPES = ['none', 'nic', 'disk', 'unix-char', 'unix-block'] as const;
export type DeviceType = (typeof DEVICE_TYPES)[number];

/** A running instance has few; a limit keeps checks and configs short. */
const MAX_DEVICES = 128;
const MAX_PROBLEMS = 5;

type Options = Readonly<Record<string, v.Kind<unknown>>>;

const UNIX: Options = {
  source: v.absolutePath,
  path: v.absolutePath,
  major: v.uint32,
  minor: v.uint32,
  mode: v.mode,
  uid: v.uint32,
  gid: v.uint32,
  required: v.bool,
};

const OPTIONS: Readonly<Record<DeviceType, Options>> = {
  // Masks a device of the same name that a profile gives.
  none: {},
  nic: {
    nictype: v.oneOf('bridged'),
    network: v.interfaceName,
    parent: v.interfaceName,
    name: v.interfaceName,
    host_name: v.interfaceName,
    hwaddr: v.hwaddr,
    mtu: v.mtu,
    'ipv4.address': v.ipv4,
    'ipv6.address': v.ipv6,
    'limits.ingress': v.bitRate,
    'limits.egress': v.bitRate,
    'limits.max': v.bitRate,
    'limits.priority': v.priority,
    'boot.priority': v.uint32,
    'security.mac_filtering': v.bool,
    'security.ipv4_filtering': v.bool,
    'security.ipv6_filtering': v.bool,
  },
  disk: {
    path: v.absolutePath,
    source: v.absolutePath,
    pool: v.poolName,
    size: v.size,
    readonly: v.bool,
    required: v.bool,
    optional: v.bool,
    recursive: v.bool,
    shift: v.bool,
    propagation: v.oneOf('private', 'shared', 'slave', 'unbindable', 'rprivate', 'rshared', 'rslave', 'runbindable'),
    'limits.read': v.diskRate,
    'limits.write': v.diskRate,
    'limits.max': v.diskRate,
    'boot.priority': v.uint32,
  },
  'unix-char': UNIX,
  'unix-block': UNIX,
};

/** Everything wrong with one device, as phrases. */
export function deviceProblems(name: string, device: Device): string[] {
  const badName = nameProblem('device', name);
  if (badName !== undefined) return [badName.replace(/\.$/, '')];
  const type = deviceType(device);
  if (type === undefined) {
    const given = Object.hasOwn(device, 'type') ? `has the type ${quote(device['type'] ?? '')}` : 'has no type';
    return [`Device ${name} ${given}; supported types are ${DEVICE_TYPES.join(', ')}`];
  }
  const options = OPTIONS[type];
  const problems = Object.entries(device).flatMap(([option, value]) => {
    if (option === 'type') return [];
    const kind = Object.hasOwn(options, option) ? options[option] : undefined;
    if (kind === undefined) return [`Device ${name} has the unknown option ${quote(option)}; ${known(type)}`];
    const problem = v.valueProblem(kind, value);
    return problem === undefined ? [] : [`Option ${option} of device ${name} ${problem}`];
  });
  if (problems.length > 0) return problems;
  const problem = TOGETHER[type]((option) => (device[option] ?? '') !== '', device);
  return problem === undefined ? [] : [`Device ${name} ${problem}`];
}

/** The type of a device when it is one we have. */
export function deviceType(device: Device): DeviceType | undefined {
  return DEVICE_TYPES.find((type) => Object.hasOwn(device, 'type') && device['type'] === type);
}

function known(type: DeviceType): string {
  const names = Object.keys(OPTIONS[type]);
  return names.length === 0 ? `a device of type ${type} takes none` : `a ${type} takes ${names.join(', ')}`;
}

/** What options mean together, as a phrase after the device's name; each alone is already known to be fine. */
const TOGETHER: Readonly<Record<DeviceType, (has: (option: string) => boolean, device: Device) => string | undefined>> =
  {
    none: () => undefined,
    nic: (has) => {
      if (!has('network')) return has('nictype') && has('parent') ? undefined : NIC_NEEDS;
      return has('parent') || has('nictype') ? 'names a network, so it takes no nictype or parent' : undefined;
    },
    disk: (has, device) => {
      if (!has('path')) return 'needs path=, where it appears in the instance';
      if (device['path'] === '/' && has('source')) return 'is the root disk, which has no source';
      if (device['path'] === '/') return has('pool') ? undefined : 'is the root disk, which needs pool=NAME';
      if (has('pool'))
        return 'names a pool, but only the root disk lives in one; storage volumes are not supported yet';
      return has('source') ? undefined : 'needs source=, a path on the host';
    },
    'unix-char': unixTogether,
    'unix-block': unixTogether,
  };

const NIC_NEEDS = 'needs network=NAME, or nictype=bridged and parent=BRIDGE';

function unixTogether(has: (option: string) => boolean): string | undefined {
  if (!has('source') && !has('path')) return 'needs source= or path=, a device file such as /dev/fuse';
  return has('major') === has('minor') ? undefined : 'needs both major= and minor=, or neither';
}

/** Throws `bad_config` naming up to five problems. Every set of devices from outside passes here. */
export function validateDevices(devices: Devices): void {
  const entries = Object.entries(devices);
  if (entries.length > MAX_DEVICES) {
    throw new FairleadError(
      'bad_config',
      `${entries.length} devices are too many: an instance has at most ${MAX_DEVICES}.`,
    );
  }
  const problems = entries.flatMap(([name, device]) => deviceProblems(name, device));
  if (problems.length > 0) throw new FairleadError('bad_config', `${problems.slice(0, MAX_PROBLEMS).join('; ')}.`);
}
