import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { effectiveValue, isOn, KEY_SPECS, keyProblem, keySpec, validateConfig } from './keys.ts';
import { MAX_VALUE_BYTES, readValue, rawLxc, valueProblem } from './values.ts';

/** Keys whose values never stand as they are in a file that is read line by line. */
const MULTILINE = [
  'cloud-init.network-config',
  'cloud-init.user-data',
  'cloud-init.vendor-data',
  'image.*',
  'raw.apparmor',
  'raw.idmap',
  'raw.lxc',
  'raw.seccomp',
  'security.syscalls.allow',
  'security.syscalls.blacklist',
  'security.syscalls.deny',
  'security.syscalls.whitelist',
  'user.*',
];

describe('the key table', () => {
  it('has defaults that its own kinds accept', () => {
    for (const spec of KEY_SPECS) expect(valueProblem(spec.kind, spec.default), spec.name).toBeUndefined();
  });

  it('names each key once', () => {
    const exact = KEY_SPECS.map((spec) => spec.name).filter((name) => !name.endsWith('*'));
    expect(new Set(exact).size).toBe(exact.length);
    for (const name of exact) expect(keySpec(name)?.name).toBe(name);
  });

  it.each([
    ['limits.memory', '512MiB'],
    ['limits.memory', '50%'],
    ['limits.cpu', '0-3,7'],
    ['limits.cpu', ''],
    ['limits.cpu.allowance', '25ms/100ms'],
    ['limits.kernel.nofile', '1024:unlimited'],
    ['environment.http_proxy', 'http://[fe80::1%eth0]:13128'],
    ['user.user-data', '#cloud-config\npackages:\n\t- x\r\n'],
    ['user.network_mode', 'link-local'],
    ['image.prop.key', 'val2'],
    ['volatile.eth0.hwaddr', '00:16:3e:00:00:01'],
    ['volatile.idmap.next', '[{"Isuid":true}]'],
    ['security.privileged', 'Yes'],
    ['linux.kernel_modules', 'overlay, nf_nat'],
    ['snapshots.schedule', '@daily, 0 6 * * 1-5'],
    ['snapshots.expiry', '1d 2H'],
    ['raw.idmap', 'both 1000 1000\nuid 50-60 500-510'],
    ['linux.sysctl.net.ipv4.ip_forward', '1'],
  ])('accepts %s=%j', (key, value) => {
    expect(keyProblem(key, value)).toBeUndefined();
  });

  it.each([
    ['limits.memory', '0'],
    ['limits.memory', '101%'],
    ['limits.memory', '1.5GB'],
    ['limits.memory', '512 MiB'],
    ['limits.cpu', '0'],
    ['limits.cpu', '1-3,3'],
    ['limits.cpu', '0-4294967295'],
    ['limits.cpu', '3-1'],
    ['limits.cpu.allowance', '50'],
    ['limits.cpu.allowance', '25ms/0ms'],
    ['limits.processes', '-1'],
    ['boot.autostart', 'maybe'],
    ['snapshots.pattern', '{{ creation_date }}'],
    ['linux.kernel_modules', 'overlay; reboot'],
    ['linux.kernel_modules', '../evil'],
    ['raw.idmap', 'both 0 0 0'],
    ['user.x', 'nul\0'],
    ['user.x', 'escape\x1b[31m'],
    ['environment.A', 'b\rlxc.hook.pre-start = /x'],
  ])('refuses %s=%j', (key, value) => {
    expect(keyProblem(key, value)).toBeDefined();
  });

  it.each([
    'foo.bar',
    '',
    'x.y',
    'environment.',
    'environment.A-B',
    'environment.1A',
    'environment.A\n',
    'limits.kernel.',
    'limits.kernel.bogus',
    'user.',
    'user.a b',
    'volatile.',
    'volatile.a..b',
    '__proto__',
    'constructor',
    'linux.sysctl.',
    `user.${'x'.repeat(300)}`,
  ])('has no key %j', (key) => {
    expect(() => validateConfig(Object.fromEntries([[key, '1']]))).toThrow(/^Unknown configuration key: "/);
  });
});

describe('a value that can reach an LXC config', () => {
  it('is of one line: the exceptions are listed here, each for a reason', () => {
    const multiline = KEY_SPECS.filter((spec) => spec.kind.multiline).map((spec) => spec.name);
    expect(multiline.sort()).toEqual(MULTILINE);
  });

  const control = fc.constantFrom(...Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)), '\x7f');
  const printable = fc.stringMatching(/^[ -~]{0,20}$/);

  it.each(KEY_SPECS.filter((spec) => !spec.kind.multiline))('never holds a control character: $name', ({ kind }) => {
    fc.assert(
      fc.property(
        fc.oneof(printable, fc.constantFrom('1', 'true', '512MiB', '@daily')),
        control,
        printable,
        (a, c, b) => {
          expect(valueProblem(kind, a + c + b)).toContain('control character');
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is at most 64 KiB, counted in bytes', () => {
    expect(keyProblem('user.x', 'x'.repeat(MAX_VALUE_BYTES))).toBeUndefined();
    expect(keyProblem('user.x', 'x'.repeat(MAX_VALUE_BYTES + 1))).toContain('64 KiB');
    expect(keyProblem('user.x', 'ä'.repeat(MAX_VALUE_BYTES / 2 + 1))).toContain('64 KiB');
  });

  it('is judged in linear time', () => {
    const started = performance.now();
    for (const spec of KEY_SPECS)
      for (const part of ['1,', 'a ', '1d ', '-1', '@', '1-']) valueProblem(spec.kind, part.repeat(32_000));
    expect((performance.now() - started) / (KEY_SPECS.length * 6)).toBeLessThan(10);
  });
});

describe('raw.lxc', () => {
  it('is read line by line, without comments', () => {
    const text = '# why\nlxc.apparmor.profile = unconfined\n\n  lxc.mount.entry=tmpfs run/x tmpfs size=1m 0 0\n';
    expect(readValue(rawLxc, 'raw.lxc', text)).toEqual([
      { key: 'lxc.apparmor.profile', value: 'unconfined' },
      { key: 'lxc.mount.entry', value: 'tmpfs run/x tmpfs size=1m 0 0' },
    ]);
  });

  it.each([
    'lxc.hook.pre-start = /x',
    'lxc.hook = /x',
    'lxc.include = /etc/shadow',
    'lxc.idmap = u 0 0 65536',
    'lxc.rootfs.path = /',
    'lxc.log.file = /etc/cron.d/x',
    'lxc.net.0.script.up = /x',
    'lxc.environment = A=b',
    'lxc.uts.name = x',
    'mount.entry = x',
    'LXC.hook.start = /x',
    'lxc.apparmor.profile unconfined',
    '# harmless\rlxc.hook.pre-start = /x',
    'lxc.cap.drop =\rlxc.hook.pre-start = /x',
    'lxc.cap.drop =\tx',
  ])('refuses %j', (line) => {
    expect(keyProblem('raw.lxc', `lxc.tty.max = 1\n${line}`)).toMatch(/^raw\.lxc has the line "/);
  });
});

describe('values that count', () => {
  it('come from the default when absent or empty', () => {
    expect(effectiveValue({}, 'limits.cpu.priority')).toBe('10');
    expect(effectiveValue({ 'limits.cpu.priority': '' }, 'limits.cpu.priority')).toBe('10');
    expect(isOn({}, 'security.nesting')).toBe(false);
    expect(isOn({ 'security.nesting': 'on' }, 'security.nesting')).toBe(true);
    expect(effectiveValue({}, 'constructor')).toBe('');
  });

  it('are bounded in number', () => {
    const many = Object.fromEntries(Array.from({ length: 1025 }, (_, at) => [`user.k${at}`, '']));
    expect(() => validateConfig(many)).toThrow('too large');
  });
});
