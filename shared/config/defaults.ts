/** What exists from the start. */
import type { Config, Devices } from '../lxd/maps.ts';

/** The bridge every host keeps for its instances. */
export const MANAGED_BRIDGE = 'flbr0';

/** The storage pool every host has. */
export const DEFAULT_POOL = 'default';

export const DEFAULT_PROFILE = 'default';

export interface ProfileSeed {
  readonly name: string;
  readonly description: string;
  readonly config: Readonly<Config>;
  readonly devices: Readonly<Devices>;
}

/** The profiles of a new project. `default` is what an instance gets that names none; it cannot be deleted. */
export const DEFAULT_PROFILES: readonly ProfileSeed[] = [
  {
    name: DEFAULT_PROFILE,
    description: 'Default Fairlead profile',
    config: {},
    devices: {
      eth0: { type: 'nic', network: MANAGED_BRIDGE, name: 'eth0' },
      root: { type: 'disk', path: '/', pool: DEFAULT_POOL },
    },
  },
  {
    // To be used with `default`, as in LXD 2.0: -p default -p docker. LXD's also hid AppArmor from Docker by mounting
    // /dev/null of the host over a kernel parameter; Docker has long detected nesting itself, so no host path is needed.
    name: 'docker',
    description: 'Profile supporting docker in containers',
    config: { 'security.nesting': 'true', 'linux.kernel_modules': 'overlay, nf_nat' },
    devices: {},
  },
];
