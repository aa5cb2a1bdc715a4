/** Instances, their state and snapshots: what is read from clients (loose schemas) and what we answer (plain types). */
import * as z from 'zod';
import { imageOrigin } from './image.ts';
import { configMap, devicesMap, type Config, type Devices } from './maps.ts';
import { newInstanceName, newSnapshotName, profileName } from './names.ts';
import type { StatusCode } from './status.ts';

/** null means "the default profile", [] means none (trap T24 of the client contract). */
const profileList = z.array(profileName).max(64).nullish();

const containerOnly = z.literal(
  ['', 'container'],
  'only containers are supported: leave out --vm and choose a container image',
);

const instanceFields = {
  architecture: z.string().default(''),
  config: configMap,
  devices: devicesMap,
  ephemeral: z.boolean().default(false),
  profiles: profileList,
  stateful: z.boolean().default(false),
  description: z.string().default(''),
};

/** PUT instances/{name}. With `restore` set ("s1" or "c1/s1") everything else is to be ignored (trap T6). */
export const InstancePut = z.looseObject({ ...instanceFields, restore: z.string().optional() });
export type InstancePut = z.infer<typeof InstancePut>;

/** PATCH instances/{name}: what is absent stays as it is. */
export const InstancePatch = z.looseObject({
  architecture: z.string().optional(),
  config: z.record(z.string(), z.string()).nullish(),
  devices: z.record(z.string(), z.record(z.string(), z.string())).nullish(),
  ephemeral: z.boolean().optional(),
  profiles: profileList,
  description: z.string().optional(),
});
export type InstancePatch = z.infer<typeof InstancePatch>;

const copyFlags = {
  live: z.boolean().optional(),
  instance_only: z.boolean().optional(),
  container_only: z.boolean().optional(),
  refresh: z.boolean().optional(),
  allow_inconsistent: z.boolean().optional(),
};

export const InstanceSource = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('image'), ...imageOrigin }),
  z.looseObject({ type: z.literal('none') }),
  z.looseObject({ type: z.literal('copy'), source: z.string(), project: z.string().optional(), ...copyFlags }),
  z.looseObject({
    type: z.literal('migration'),
    mode: imageOrigin.mode,
    /** URL of the source's operation. */
    operation: z.string().optional(),
    /** Stream name to its one-time secret. */
    secrets: z.record(z.string(), z.string()).nullish(),
    certificate: z.string().optional(),
    'base-image': z.string().optional(),
    ...copyFlags,
  }),
]);
export type InstanceSource = z.infer<typeof InstanceSource>;

/** POST instances. */
export const InstancesPost = z.looseObject({
  ...instanceFields,
  name: newInstanceName.default(''),
  source: InstanceSource,
  type: containerOnly.optional(),
  /** A cloud's machine type ("t2.micro"); stock clients send ''. */
  instance_type: z.string().optional(),
  /** Start as part of the same operation. */
  start: z.boolean().default(false),
});
export type InstancesPost = z.infer<typeof InstancesPost>;

/** POST instances/{name}: rename, or be the source of a migration. */
export const InstancePost = z.looseObject({
  name: newInstanceName.default(''),
  migration: z.boolean().default(false),
  live: z.boolean().default(false),
  instance_only: z.boolean().default(false),
  container_only: z.boolean().default(false),
  /** Where to push to; null when the other side pulls. */
  target: z
    .looseObject({
      operation: z.string(),
      certificate: z.string().optional(),
      secrets: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
  pool: z.string().optional(),
  project: z.string().optional(),
});
export type InstancePost = z.infer<typeof InstancePost>;

export const STATE_ACTIONS = ['start', 'stop', 'restart', 'freeze', 'unfreeze'] as const;
export type StateAction = (typeof STATE_ACTIONS)[number];

/** PUT instances/{name}/state. */
export const InstanceStatePut = z.looseObject({
  action: z.enum(STATE_ACTIONS),
  /** Seconds; -1 asks for the server's default. */
  timeout: z.int().min(-1).default(-1),
  force: z.boolean().default(false),
  stateful: z.boolean().default(false),
});
export type InstanceStatePut = z.infer<typeof InstanceStatePut>;

/** POST instances/{name}/snapshots. */
export const SnapshotsPost = z.looseObject({
  name: newSnapshotName.default(''),
  stateful: z.boolean().default(false),
  expires_at: z.string().nullish(),
});
export type SnapshotsPost = z.infer<typeof SnapshotsPost>;

/** POST instances/{name}/snapshots/{snapshot}: rename, or be the source of a migration. */
export const SnapshotPost = z.looseObject({
  name: newSnapshotName.default(''),
  migration: z.boolean().default(false),
  live: z.boolean().default(false),
  target: InstancePost.shape.target,
});
export type SnapshotPost = z.infer<typeof SnapshotPost>;

/** The bare snapshot name in `restore` or a snapshot source: "c1/s1" and "s1" both mean s1. */
export function bareSnapshotName(value: string): string {
  return value.slice(value.lastIndexOf('/') + 1);
}

export interface Instance {
  name: string;
  description: string;
  status: string;
  status_code: StatusCode;
  type: 'container';
  architecture: string;
  ephemeral: boolean;
  /** A checkpoint waits to be resumed by the next start. */
  stateful: boolean;
  profiles: string[];
  config: Config;
  devices: Devices;
  expanded_config: Config;
  expanded_devices: Devices;
  created_at: string;
  last_used_at: string;
  location: string;
  project: string;
}

export interface Snapshot {
  /** Bare name, without the instance's. */
  name: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  stateful: boolean;
  architecture: string;
  ephemeral: boolean;
  profiles: string[];
  config: Config;
  devices: Devices;
  expanded_config: Config;
  expanded_devices: Devices;
  /** Bytes; -1 when not known. */
  size: number;
}

export interface InstanceFull extends Instance {
  state: InstanceState | null;
  snapshots: Snapshot[] | null;
  backups: null;
}

export interface NetworkAddress {
  family: 'inet' | 'inet6';
  address: string;
  /** Prefix length, as text. */
  netmask: string;
  scope: 'global' | 'local' | 'link';
}

export interface NetworkState {
  addresses: NetworkAddress[];
  counters: { bytes_received: number; bytes_sent: number; packets_received: number; packets_sent: number };
  hwaddr: string;
  host_name: string;
  mtu: number;
  state: 'up' | 'down';
  type: string;
}

/** Sizes in bytes, CPU usage in nanoseconds. */
export interface InstanceState {
  status: string;
  status_code: StatusCode;
  /** Init process as the host sees it; 0 when stopped. */
  pid: number;
  processes: number;
  cpu: { usage: number };
  memory: { usage: number; usage_peak: number; total: number; swap_usage: number; swap_usage_peak: number };
  disk: Record<string, { usage: number }> | null;
  network: Record<string, NetworkState> | null;
}
