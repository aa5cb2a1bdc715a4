import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { limitsOf } from '#shared/config/limits.ts';
import { renderConfig, type Container } from './config.ts';
import { nicsOf } from './nics.ts';

const ID = '0a1b2c3d-0000-4000-8000-000000000001';

function container(config: Record<string, string> = {}, change: Partial<Container> = {}): Container {
  const devices = { eth0: { type: 'nic', network: 'flbr0', name: 'eth0' } };
  const spec = { id: ID, name: 'c1', project: 'default', epoch: 1, architecture: 'x86_64', config, devices };
  return {
    spec,
    limits: limitsOf(config),
    rootfs: `/var/lib/fairlead/instances/${ID}/rootfs`,
    idmap: { base: 1_000_000, size: 65_536 },
    host: { cgroup: 'v2', apparmor: false, cpus: 4, memory: 8 * 2 ** 30, swapLimit: true },
    nics: nicsOf(spec),
    mounts: [],
    devices: [],
    paths: {
      consoleLog: `/var/lib/fairlead/instances/${ID}/console.log`,
      seccomp: '/var/lib/fairlead/seccomp/default.seccomp',
    },
    ...change,
  };
}

/** As liblxc reads it: LF and CR end a line, an empty value clears a list, one pair of quotes around a value goes. */
function parse(text: string): Map<string, string[]> {
  const keys = new Map<string, string[]>();
  for (const line of text.split(/[\n\r]/)) {
    if (line.trim() === '' || line.trim().startsWith('#')) continue;
    const at = line.indexOf('=');
    const key = line.slice(0, at).trim();
    const value = line
      .slice(at + 1)
      .trim()
      .replace(/^(["'])(.*)\1$/s, '$2');
    keys.set(key, value === '' ? [] : [...(keys.get(key) ?? []), value]);
  }
  return keys;
}

function rendered(config: Record<string, string> = {}, change: Partial<Container> = {}): Map<string, string[]> {
  return parse(renderConfig(container(config, change)));
}

describe("a container's configuration", () => {
  it('is unprivileged and hardened without being asked', () => {
    const keys = rendered();
    expect(keys.get('lxc.idmap')).toEqual(['u 0 1000000 65536', 'g 0 1000000 65536']);
    expect(keys.get('lxc.mount.auto')).toEqual(['proc:mixed sys:mixed cgroup:mixed']);
    expect(keys.get('lxc.cap.drop')?.[0]).toContain('sys_module');
    expect(keys.get('lxc.seccomp.profile')).toEqual(['/var/lib/fairlead/seccomp/default.seccomp']);
    expect(keys.get('lxc.cgroup2.devices.deny')).toEqual(['a']);
    expect(keys.get('lxc.cgroup2.devices.allow')).not.toContain('b *:* m');
    expect(keys.get('lxc.tty.max')).toEqual(['0']);
    expect(keys.get('lxc.keyring.session')).toEqual(['1']);
  });
  it('names both ends of its network the same at every start', () => {
    const first = renderConfig(container());
    expect(first).toBe(renderConfig(container()));
    expect(first).toMatch(/^lxc\.net\.0\.veth\.pair = fl[0-9a-f]{8}$/m);
    expect(first).toMatch(/^lxc\.net\.0\.hwaddr = 00:16:3e(:[0-9a-f]{2}){3}$/m);
    expect(rendered({ 'volatile.eth0.hwaddr': '00:16:3e:aa:bb:cc' }).get('lxc.net.0.hwaddr')).toEqual([
      '00:16:3e:aa:bb:cc',
    ]);
  });
  it('keeps a console log, but no console when it must be dumpable', () => {
    expect(rendered().get('lxc.console.size')).toEqual(['1048576']);
    const stateful = rendered({ 'migration.stateful': 'true' });
    expect(stateful.get('lxc.console.path')).toEqual(['none']);
    expect(stateful.has('lxc.console.logfile')).toBe(false);
  });
  it('opens for nesting only what nesting needs', () => {
    const keys = rendered({ 'security.nesting': 'true' });
    expect(keys.get('lxc.mount.auto')).toEqual(['proc:rw sys:mixed cgroup:rw:force']);
    expect(keys.get('lxc.mount.entry')).toContain('proc dev/.lxc/proc proc create=dir,optional 0 0');
    expect(keys.get('lxc.idmap')).toHaveLength(2);
  });
  it('has no id map when privileged', () => {
    expect(rendered({ 'security.privileged': 'true' }).get('lxc.idmap')).toEqual([]);
  });
  it('takes back what raw.lxc did to the hardening, and keeps the rest of it', () => {
    const raw = [
      'lxc.cap.drop =',
      'lxc.seccomp.profile = /dev/null',
      'lxc.cgroup2.devices.allow = a',
      'lxc.signal.halt = SIGTERM',
    ];
    const keys = rendered({ 'raw.lxc': raw.join('\n') });
    const plain = rendered();
    for (const key of ['lxc.cap.drop', 'lxc.seccomp.profile', 'lxc.cgroup2.devices.allow']) {
      expect(keys.get(key)?.at(-1)).toBe(plain.get(key)?.at(-1));
      if (key !== 'lxc.seccomp.profile') expect(keys.get(key)).toEqual(plain.get(key));
    }
    expect(keys.get('lxc.signal.halt')).toEqual(['SIGTERM']);
  });
  it('refuses raw.lxc lines that would run programs on the host', () => {
    expect(() => rendered({ 'raw.lxc': 'lxc.hook.pre-start = /bin/x' })).toThrow(/hooks run on the host/);
  });
  it('escapes blanks in paths of mounts', () => {
    const mount = {
      source: '/srv/a b',
      target: '/mnt/c d',
      create: 'dir',
      readonly: true,
      recursive: false,
      optional: false,
      shift: true,
    } as const;
    expect(rendered({}, { mounts: [mount] }).get('lxc.mount.entry')).toEqual([
      '/srv/a\\040b mnt/c\\040d none bind,ro,create=dir,idmap=container 0 0',
    ]);
  });
});

describe('any text as the value of a variable', () => {
  it('is written as it is, or refused: it never becomes a key of its own', () => {
    const intended = [...rendered({ 'environment.A': 'x' }).keys()];
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (value) => {
        let text: string;
        try {
          text = renderConfig(container({ 'environment.A': value }));
        } catch (error) {
          // oxlint-disable-next-line no-control-regex
          expect(isFairleadError(error, 'bad_config') && /[\u0000-\u001f\u007f]/.test(value)).toBe(true);
          return;
        }
        const keys = parse(text);
        expect([...keys.keys()].filter((key) => !intended.includes(key))).toEqual([]);
        if (value !== '') expect(keys.get('lxc.environment')).toEqual([`A=${value}`]);
      }),
      {
        examples: [
          ['b\nlxc.hook.pre-start = /x'],
          ['b\rlxc.hook.pre-start = /x'],
          ['"quoted"'],
          [' blanks '],
          ['a\0b'],
        ],
      },
    );
  });
});

describe('limits', () => {
  const config = {
    'limits.memory': '64MiB',
    'limits.processes': '30',
    'limits.cpu': '0,2',
    'limits.cpu.allowance': '20ms/100ms',
    'limits.kernel.nofile': '1024:4096',
  };
  function limitLines(cgroup: 'v1' | 'v2' | 'hybrid', config: Record<string, string>): string[] {
    const host = { cgroup, apparmor: false, cpus: 4, memory: 2 ** 33, swapLimit: true };
    const lines = renderConfig(container(config, { host })).split('\n');
    return lines.filter((line) => /^lxc\.(cgroup2?|prlimit)\./.test(line) && !line.includes('devices'));
  }
  it('are cgroup v1 files on a hybrid host', () => {
    expect(limitLines('hybrid', config)).toEqual([
      'lxc.cgroup.pids.max = 30',
      'lxc.cgroup.cpuset.cpus = 0,2',
      'lxc.cgroup.memory.limit_in_bytes = 67108864',
      'lxc.cgroup.memory.memsw.limit_in_bytes = 67108864',
      'lxc.cgroup.cpu.cfs_quota_us = 20000',
      'lxc.prlimit.nofile = 1024:4096',
    ]);
  });
  it('are cgroup v2 files on a v2 host', () => {
    expect(limitLines('v2', config)).toEqual([
      'lxc.cgroup2.pids.max = 30',
      'lxc.cgroup2.cpuset.cpus = 0,2',
      'lxc.cgroup2.memory.max = 67108864',
      'lxc.cgroup2.memory.swap.max = 0',
      'lxc.cgroup2.cpu.max = 20000 100000',
      'lxc.prlimit.nofile = 1024:4096',
    ]);
  });
  it('exist for memory and processes when nobody set any', () => {
    expect(limitLines('v2', {})).toEqual(['lxc.cgroup2.pids.max = 4096', 'lxc.cgroup2.memory.max = 6871945216']);
  });
  it('can be soft', () => {
    const soft = {
      'limits.memory': '50%',
      'limits.memory.enforce': 'soft',
      'limits.cpu.allowance': '50%',
      'limits.cpu.priority': '5',
    };
    expect(limitLines('v2', soft)).toContain('lxc.cgroup2.memory.high = 4294967296');
    expect(limitLines('v2', soft)).toContain('lxc.cgroup2.cpu.weight = 45');
    expect(limitLines('v1', soft)).toContain('lxc.cgroup.memory.soft_limit_in_bytes = 4294967296');
    expect(limitLines('v1', soft)).toContain('lxc.cgroup.cpu.shares = 507');
  });
});
