import { describe, expect, it } from 'vitest';
import { groupFolder, parseCgroups } from './cgroup.ts';

const HYBRID = `
30 29 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;
const UNIFIED = '34 30 0:30 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';
const ID = '0a1b2c3d-0000-4000-8000-000000000001';

describe('the cgroup layout of a host', () => {
  it('is hybrid when controllers are in v1 beside a cgroup2', () => {
    const cgroups = parseCgroups(HYBRID);
    expect(cgroups.layout).toBe('hybrid');
    expect(cgroups.controllers.get('cpuacct')).toBe('/sys/fs/cgroup/cpu,cpuacct');
  });
  it('is v2 when only cgroup2 is mounted, v1 when it is missing', () => {
    expect(parseCgroups(UNIFIED).layout).toBe('v2');
    expect(parseCgroups(HYBRID.replace(/.*cgroup2.*/, '')).layout).toBe('v1');
  });
});

describe("a container's group", () => {
  it('is found in a v1 hierarchy, whatever the guest made below it', () => {
    const proc = `5:memory:/lxc.payload.${ID}-1/system.slice/a.service\n3:cpu,cpuacct:/lxc.payload.${ID}-1\n`;
    const cgroups = parseCgroups(HYBRID);
    expect(groupFolder(cgroups, proc, ID, 'memory')).toBe(`/sys/fs/cgroup/memory/lxc.payload.${ID}-1`);
    expect(groupFolder(cgroups, proc, ID, 'cpu')).toBe(`/sys/fs/cgroup/cpu,cpuacct/lxc.payload.${ID}-1`);
  });
  it('is found in cgroup2', () => {
    const proc = `0::/machine/lxc.payload.${ID}/init.scope\n`;
    expect(groupFolder(parseCgroups(UNIFIED), proc, ID, 'memory')).toBe(`/sys/fs/cgroup/machine/lxc.payload.${ID}`);
  });
  it('is undefined for a process outside and for a controller that is not there', () => {
    expect(groupFolder(parseCgroups(UNIFIED), '0::/user.slice\n', ID, 'memory')).toBeUndefined();
    expect(groupFolder(parseCgroups(HYBRID), `5:pids:/lxc.payload.${ID}`, ID, 'pids')).toBeUndefined();
  });
});
