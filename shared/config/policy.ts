/** Ceilings: how far a project, or a host, lets an instance's configuration go; and the host's policy file. */
import * as z from 'zod';
import { parse } from '../lxd/parse.ts';
import { MANAGED_BRIDGE } from './defaults.ts';
import { absolutePath, interfaceName } from './values.ts';

export interface Ceiling {
  /** Containers whose root is the host's root. */
  privileged: boolean;
  /** Demand an id map shared with no other instance (`security.idmap.isolated=true`). */
  isolated: boolean;
  nesting: boolean;
  rawLxc: boolean;
  /** Listed `security.syscalls.intercept.*`. */
  interception: boolean;
  /** raw.* (but raw.lxc), sysctls outside the container's namespaces, chosen id maps, system call filters... */
  lowLevel: boolean;
  /** Modules the host may load for an instance; `*` is any. */
  kernelModules: readonly string[];
  /** Host paths a disk's source may be or lie below. */
  diskSources: readonly string[];
  /** Device files of the host; `*` is any, and numbers given by hand. */
  unixDevices: readonly string[];
  /** Bridges a nic may join; absent is any. */
  networks?: readonly string[];
}

/** Allows everything that exists: the ceiling of a project without restrictions. The host's policy still holds. */
export const openCeiling: Ceiling = {
  privileged: true,
  isolated: false,
  nesting: true,
  rawLxc: true,
  interception: true,
  lowLevel: true,
  kernelModules: ['*'],
  diskSources: ['/'],
  unixDevices: ['*'],
};

/** Allows what needs nobody's permission: the ceiling of a restricted project until it is raised. */
export const restrictedCeiling: Ceiling = {
  privileged: false,
  isolated: false,
  nesting: false,
  rawLxc: false,
  interception: false,
  lowLevel: false,
  kernelModules: [],
  diskSources: [],
  unixDevices: [],
  networks: [MANAGED_BRIDGE],
};

/** What the root-owned policy file of a host says. */
export interface HostPolicy {
  ceiling: Ceiling;
  /** Whether commands may be run in instances from outside. */
  exec: boolean;
  /** Whether running instances may be checkpointed and moved with their memory. */
  live: boolean;
  /** Hosts the connector may fetch images from, besides the control plane's own store. */
  urlEgress: readonly string[];
  /** Host ids that instances may be mapped to; absent leaves the choice to the connector. */
  idmapRanges?: readonly { base: number; size: number }[];
}

/** For nesting: what Docker in a container asks for. Each is loaded by distributions' own firewalls and Docker anyway. */
const NESTING_MODULES = ['overlay', 'nf_nat', 'ip_tables', 'ip6_tables', 'bridge', 'br_netfilter'];

const paths = z.array(z.string().refine((path) => absolutePath.read(path) !== undefined, absolutePath.expected));
const id = z.int().min(1).max(0xffff_fffe);

/** The file itself, JSON. An unknown or misspelt member is an error: a policy must not be half read. */
export const HostPolicyFile = z.strictObject({
  allow_privileged: z.boolean().default(false),
  require_isolated: z.boolean().default(false),
  allow_nesting: z.boolean().default(true),
  allow_raw_lxc: z.boolean().default(false),
  allow_interception: z.boolean().default(false),
  allow_low_level: z.boolean().default(false),
  kernel_modules: z.array(z.string()).default(NESTING_MODULES),
  disk_sources: paths.default([]),
  unix_devices: z.array(z.union([z.literal('*'), paths.element])).default([]),
  networks: z
    .array(z.string().refine((name) => interfaceName.read(name) !== undefined, interfaceName.expected))
    .default([MANAGED_BRIDGE]),
  allow_exec: z.boolean().default(true),
  allow_live: z.boolean().default(true),
  url_egress: z.array(z.string()).default([]),
  idmap_ranges: z.array(z.strictObject({ base: id, size: id })).optional(),
});
export type HostPolicyFile = z.infer<typeof HostPolicyFile>;

/** Reads a policy file's content, already out of JSON; what is absent is closed. Throws `bad_request` naming what is wrong. */
export function readHostPolicy(content: unknown): HostPolicy {
  const file = parse(HostPolicyFile, content, 'host policy file');
  return {
    ceiling: {
      privileged: file.allow_privileged,
      isolated: file.require_isolated,
      nesting: file.allow_nesting,
      rawLxc: file.allow_raw_lxc,
      interception: file.allow_interception,
      lowLevel: file.allow_low_level,
      kernelModules: file.kernel_modules,
      diskSources: file.disk_sources,
      unixDevices: file.unix_devices,
      networks: file.networks,
    },
    exec: file.allow_exec,
    live: file.allow_live,
    urlEgress: file.url_egress,
    ...(file.idmap_ranges && { idmapRanges: file.idmap_ranges }),
  };
}

/** The policy of a host without a file: unprivileged containers, nesting, nothing of the host's own. */
export const defaultHostPolicy: HostPolicy = readHostPolicy({});
