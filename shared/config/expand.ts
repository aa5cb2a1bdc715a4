/** What an instance really has: its profiles in order, then its own keys and devices over them. */
import type { Config, Devices } from '../lxd/maps.ts';

/** A profile, or an instance's own part. */
export interface Layer {
  readonly config: Readonly<Config>;
  readonly devices: Readonly<Devices>;
}

/** Expanded configuration and devices. */
export interface Effective {
  config: Config;
  devices: Devices;
}

/**
 * As LXD: a later profile wins over an earlier one, the local layer over all. A key is replaced, and so is a device as a
 * whole (options are not merged). A device of type `none` stays visible and masks the one it replaces.
 */
export function expand(profiles: readonly Layer[], local: Layer): Effective {
  const layers = [...profiles, local];
  return {
    config: Object.fromEntries(layers.flatMap(({ config }) => Object.entries(config))),
    devices: Object.fromEntries(
      layers.flatMap(({ devices }) => Object.entries(devices).map(([name, device]) => [name, { ...device }])),
    ),
  };
}
