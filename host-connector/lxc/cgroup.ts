/** Where the kernel keeps a container's limits and counters: pure readers of /proc/self/mountinfo and /proc/<pid>/cgroup. */
import { join } from 'node:path';

/** `hybrid`: the controllers are in v1 hierarchies and an (almost) empty cgroup2 stands beside them. */
export type CgroupLayout = 'v1' | 'v2' | 'hybrid';

/** The mounted hierarchies of a host. */
export interface Cgroups {
  readonly layout: CgroupLayout;
  /** Mount point of cgroup2. */
  readonly unified: string | undefined;
  /** v1 controllers with their mount points. */
  readonly controllers: ReadonlyMap<string, string>;
  /** Mount point of the v1 hierarchy without controllers that systemd keeps. */
  readonly systemd: string | undefined;
}

const V1_CONTROLLERS = new Set([
  'cpuset',
  'cpu',
  'cpuacct',
  'blkio',
  'memory',
  'devices',
  'freezer',
  'pids',
  'net_cls',
]);

/** Reads /proc/self/mountinfo. */
export function parseCgroups(mountinfo: string): Cgroups {
  const controllers = new Map<string, string>();
  let unified: string | undefined;
  let systemd: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [type, , superOptions = ''] = after.split(' ');
    const mountPoint = before.split(' ')[4] ?? '';
    if (type === 'cgroup2') unified ??= mountPoint;
    if (type !== 'cgroup') continue;
    if (superOptions.split(',').includes('name=systemd')) systemd ??= mountPoint;
    for (const option of superOptions.split(',')) if (V1_CONTROLLERS.has(option)) controllers.set(option, mountPoint);
  }
  const layout = controllers.size === 0 ? 'v2' : unified === undefined ? 'v1' : 'hybrid';
  return { layout, unified, controllers, systemd };
}

/**
 * The folder of a container's control group, from /proc/<pid>/cgroup of any process inside it. liblxc names it
 * `lxc.payload.<id>` (with `-1`, `-2` behind it when a dead one is in the way); what the guest made below it is cut off.
 * Undefined when the controller is not there or the process is not in that container.
 */
export function groupFolder(cgroups: Cgroups, procCgroup: string, id: string, controller: string): string | undefined {
  const v1Mount = cgroups.controllers.get(controller);
  const mount = v1Mount ?? (cgroups.layout === 'v2' ? cgroups.unified : undefined);
  if (mount === undefined) return undefined;
  for (const line of procCgroup.split('\n')) {
    const [hierarchy, names = '', ...rest] = line.split(':');
    const ours = v1Mount === undefined ? hierarchy === '0' : names.split(',').includes(controller);
    if (!ours) continue;
    const segments = rest.join(':').split('/');
    const end = segments.findIndex((segment) => segment.startsWith(`lxc.payload.${id}`));
    return end === -1 ? undefined : join(mount, ...segments.slice(0, end + 1));
  }
  return undefined;
}
