import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFairleadError } from '../errors.ts';
import type { Config, Devices } from '../lxd/maps.ts';
import { DEFAULT_PROFILES } from './defaults.ts';
import { expand } from './expand.ts';
import { KEY_SPECS, type KeyClass } from './keys.ts';
import { defaultHostPolicy, openCeiling, readHostPolicy, restrictedCeiling, type Ceiling } from './policy.ts';
import { assertAllowed, checkEffective, isBelow, type CeilingOwner } from './restrictions.ts';

/** Written out, not taken from the table: the table is what is tested. Key, a value that asks for something. */
const LOW_LEVEL: Config = {
  'boot.host_shutdown_timeout': '600',
  'boot.host_shutdown_action': 'force-stop',
  'limits.kernel.nice': '0',
  'limits.kernel.rtprio': '99',
  'limits.memory.oom_priority': '-1000',
  'limits.memory.swap': 'false',
  'linux.sysctl.kernel.core_pattern': '|/x',
  'linux.sysctl.net.core.bpf_jit_enable': '1',
  'linux.sysctl.vm.overcommit_memory': '1',
  'nvidia.driver.capabilities': 'all',
  'nvidia.require.cuda': 'cuda>=9.0',
  'nvidia.require.driver': 'driver>=400',
  'nvidia.runtime': 'true',
  'raw.apparmor': 'mount,',
  'raw.idmap': 'both 0 0',
  'raw.seccomp': '2',
  'security.devlxd': 'true',
  'security.devlxd.images': 'true',
  'security.guestapi': 'true',
  'security.guestapi.images': 'true',
  'security.idmap.base': '0',
  'security.idmap.size': '1',
  'security.syscalls.allow': 'bpf',
  'security.syscalls.blacklist': 'read',
  'security.syscalls.blacklist_compat': 'true',
  'security.syscalls.blacklist_default': '0',
  'security.syscalls.deny': 'read',
  'security.syscalls.deny_compat': 'true',
  'security.syscalls.deny_default': 'false',
  'security.syscalls.intercept.mount.allowed': 'ext4',
  'security.syscalls.intercept.mount.shift': 'true',
  'security.syscalls.intercept.sched_setscheduler': 'true',
  'security.syscalls.whitelist': 'bpf',
};

const INTERCEPTION: Config = {
  'security.syscalls.intercept.bpf': 'true',
  'security.syscalls.intercept.bpf.devices': 'true',
  'security.syscalls.intercept.mknod': '1',
  'security.syscalls.intercept.mount': 'true',
  'security.syscalls.intercept.mount.fuse': 'ext4=fuse2fs',
  'security.syscalls.intercept.setxattr': 'true',
  'security.syscalls.intercept.sysinfo': 'true',
};

/** Each dangerous key with its value and the one member of the ceiling that grants it. */
const DANGEROUS: [key: string, value: string, grant: Partial<Ceiling>][] = [
  ['security.privileged', 'true', { privileged: true }],
  ['security.nesting', 'yes', { nesting: true }],
  ['raw.lxc', 'lxc.tty.max = 4', { rawLxc: true }],
  ['linux.kernel_modules', 'overlay,nf_nat', { kernelModules: ['nf_nat', 'overlay'] }],
  ...granted(INTERCEPTION, { interception: true }),
  ...granted(LOW_LEVEL, { lowLevel: true }),
];

function granted(config: Config, grant: Partial<Ceiling>): typeof DANGEROUS {
  return Object.entries(config).map(([key, value]) => [key, value, grant]);
}

const DANGEROUS_DEVICES: [Devices[string], Partial<Ceiling>][] = [
  [{ type: 'disk', path: '/x', source: '/etc' }, { diskSources: ['/etc'] }],
  [
    { type: 'disk', path: '/x', source: '/srv/a', shift: 'true' },
    { diskSources: ['/srv'], lowLevel: true },
  ],
  [
    { type: 'disk', path: '/x', source: '/srv/a', propagation: 'shared' },
    { diskSources: ['/srv'], lowLevel: true },
  ],
  [{ type: 'nic', network: 'lxdbr0' }, { networks: ['lxdbr0'] }],
  [{ type: 'nic', nictype: 'bridged', parent: 'br0' }, { networks: ['br0'] }],
  [{ type: 'nic', network: 'flbr0', host_name: 'eth0' }, { lowLevel: true }],
  [{ type: 'unix-char', path: '/dev/kvm' }, { unixDevices: ['/dev/kvm'] }],
  [{ type: 'unix-block', source: '/dev/sda', path: '/dev/x' }, { unixDevices: ['/dev/sda'] }],
  [{ type: 'unix-char', path: '/dev/fuse', major: '1', minor: '1' }, { unixDevices: ['*'] }],
];

function refused(config: Config, devices: Devices, ceiling: Ceiling, owner: CeilingOwner): string | undefined {
  try {
    assertAllowed({ config, devices }, ceiling, owner);
    return undefined;
  } catch (thrown) {
    if (isFairleadError(thrown)) return thrown.code;
    throw thrown;
  }
}

const OWNERS: [CeilingOwner, string][] = [
  ['project', 'forbidden'],
  ['host', 'forbidden_by_host'],
];

describe.each(OWNERS)('under the ceiling of a %s', (owner, code) => {
  it.each(DANGEROUS)('%s=%s needs its own permission and no other', (key, value, grant) => {
    const config = { [key]: value };
    expect(refused(config, {}, restrictedCeiling, owner)).toBe(code);
    expect(refused(config, {}, { ...restrictedCeiling, ...grant }, owner)).toBeUndefined();
    const allBut = Object.fromEntries(
      Object.keys(grant).map((name) => [name, restrictedCeiling[name as keyof Ceiling]]),
    );
    expect(refused(config, {}, { ...openCeiling, ...allBut }, owner)).toBe(code);
    expect(refused(config, {}, openCeiling, owner)).toBeUndefined();
  });

  it.each(DANGEROUS_DEVICES)('the device %j needs its own permission', (device, grant) => {
    expect(refused({}, { d: device }, restrictedCeiling, owner)).toBe(code);
    expect(refused({}, { d: device }, { ...restrictedCeiling, ...grant }, owner)).toBeUndefined();
    expect(refused({}, { d: device }, openCeiling, owner)).toBeUndefined();
  });
});

it('the matrix has every key that needs permission, at least forty', () => {
  const free: KeyClass[] = ['free', 'environment', 'volatile'];
  const known = KEY_SPECS.filter((spec) => !free.includes(spec.class) && !spec.name.endsWith('*'));
  const listed = DANGEROUS.map(([key]) => key);
  expect(listed).toEqual(expect.arrayContaining(known.map((spec) => spec.name)));
  expect(listed.length).toBeGreaterThanOrEqual(40);
});

describe('the check', () => {
  it('refuses an unknown key and an unknown device type under every ceiling', () => {
    expect(checkEffective({ config: { 'x.y': '1' }, devices: {} }, openCeiling)).toMatchObject([
      { key: 'x.y', class: 'unknown' },
    ]);
    expect(checkEffective({ config: {}, devices: { g: { type: 'gpu' } } }, openCeiling)).toMatchObject([
      { class: 'unknown' },
    ]);
    expect(refused({ 'x.y': '1' }, {}, restrictedCeiling, 'project')).toBe('bad_config');
  });

  it('counts an absent key as its default: not isolated is refused where isolation is demanded', () => {
    const ceiling = { ...restrictedCeiling, isolated: true };
    expect(refused({}, {}, ceiling, 'project')).toBe('forbidden');
    expect(refused({ 'security.idmap.isolated': '' }, {}, ceiling, 'project')).toBe('forbidden');
    expect(refused({ 'security.idmap.isolated': 'false' }, {}, ceiling, 'project')).toBe('forbidden');
    expect(refused({ 'security.idmap.isolated': 'true' }, {}, ceiling, 'project')).toBeUndefined();
  });

  it('lets anyone spell a default out, in any spelling', () => {
    const asDefault = Object.fromEntries(
      KEY_SPECS.filter((spec) => !spec.name.endsWith('*')).map((spec) => [spec.name, spec.default]),
    );
    expect(checkEffective({ config: asDefault, devices: {} }, restrictedCeiling)).toEqual([]);
    expect(checkEffective({ config: { 'security.privileged': 'No' }, devices: {} }, restrictedCeiling)).toEqual([]);
  });

  it('leaves ordinary options alone', () => {
    const config = {
      'limits.memory': '1GiB',
      'user.a': 'b\nc',
      'environment.A': 'b',
      'boot.autostart': 'true',
      'linux.sysctl.net.ipv4.ip_forward': '1',
    };
    const devices = { ...DEFAULT_PROFILES[0]!.devices, eth1: { type: 'none' } };
    expect(refused(config, devices, restrictedCeiling, 'project')).toBeUndefined();
  });

  it('never finds less when the ceiling is lower', () => {
    const flags = ['privileged', 'nesting', 'rawLxc', 'interception', 'lowLevel'] as const;
    const config = Object.fromEntries(DANGEROUS.map(([key, value]) => [key, value]));
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), fc.nat({ max: 4 }), (grants, at) => {
        const ceiling = { ...restrictedCeiling, ...Object.fromEntries(flags.map((flag, i) => [flag, grants[i]])) };
        const count = (one: Ceiling) => checkEffective({ config, devices: {} }, one).length;
        expect(count({ ...ceiling, [flags[at]!]: false })).toBeGreaterThanOrEqual(count(ceiling));
      }),
    );
  });

  it('says what is refused, by whom, and what to do', () => {
    const effective = { config: { 'security.privileged': 'true' }, devices: {} };
    expect(() => assertAllowed(effective, restrictedCeiling, 'project')).toThrow(
      'This project does not allow security.privileged (privileged containers are not allowed). Remove it, or ask',
    );
    expect(() => assertAllowed(effective, defaultHostPolicy.ceiling, 'host')).toThrow(
      'The policy of this host does not allow',
    );
  });
});

describe('a device file', () => {
  it('is not named by numbers under the cover of an allowed path', () => {
    const ceiling = { ...restrictedCeiling, unixDevices: ['/dev/fuse'] };
    const fuse = { type: 'unix-char', path: '/dev/fuse' };
    expect(refused({}, { fuse }, ceiling, 'host')).toBeUndefined();
    expect(refused({}, { fuse: { ...fuse, major: '1', minor: '1' } }, ceiling, 'host')).toBe('forbidden_by_host');
    expect(refused({}, { fuse: { ...fuse, source: '/dev/mem' } }, ceiling, 'host')).toBe('forbidden_by_host');
  });
});

describe('paths', () => {
  it.each([
    ['/srv', ['/srv'], true],
    ['/srv/a/b', ['/srv'], true],
    ['/srvx', ['/srv'], false],
    ['/', ['/srv'], false],
    ['/anything', ['/'], true],
    ['/srv/../etc', ['/srv'], false],
    ['srv', ['/'], false],
    ['/srv', [], false],
  ])('%s below %j: %s', (path, roots, below) => {
    expect(isBelow(path, roots)).toBe(below);
  });
});

describe('the host policy', () => {
  it('without a file is closed, but lets the default and docker profiles run', () => {
    const { ceiling } = defaultHostPolicy;
    expect(ceiling).toMatchObject({
      privileged: false,
      nesting: true,
      rawLxc: false,
      lowLevel: false,
      diskSources: [],
      unixDevices: [],
    });
    expect(refused(...both(), ceiling, 'host')).toBeUndefined();
    expect(refused({ ...both()[0], 'linux.kernel_modules': 'overlay, vfio' }, {}, ceiling, 'host')).toBe(
      'forbidden_by_host',
    );
    expect(refused(...both(), restrictedCeiling, 'project')).toBe('forbidden');
  });

  function both(): [Config, Devices] {
    const { config, devices } = expand(DEFAULT_PROFILES, { config: {}, devices: {} });
    return [config, devices];
  }

  it('is read from its file', () => {
    const policy = readHostPolicy({
      allow_privileged: true,
      disk_sources: ['/srv/shared'],
      allow_exec: false,
      networks: ['br0'],
    });
    expect(policy.ceiling).toMatchObject({
      privileged: true,
      diskSources: ['/srv/shared'],
      networks: ['br0'],
      rawLxc: false,
    });
    expect(policy.exec).toBe(false);
  });

  it.each([
    { allow_priviledged: false },
    { disk_sources: ['srv'] },
    { disk_sources: ['/srv/../etc'] },
    { allow_nesting: 'no' },
    [],
  ])('refuses the file %j whole', (file) => {
    expect(() => readHostPolicy(file)).toThrow('The host policy file is not valid.');
  });
});
