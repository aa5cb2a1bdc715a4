import { describe, expect, it } from 'vitest';
import type { Device } from '../lxd/maps.ts';
import { deviceProblems, validateDevices } from './devices.ts';
import { readDevice } from './readDevice.ts';

const ROOT: Device = { type: 'disk', path: '/', pool: 'default', size: '10GiB' };

describe('devices', () => {
  it.each<Device>([
    { type: 'none' },
    ROOT,
    { type: 'disk', path: '/data', source: '/srv/data', readonly: 'true' },
    { type: 'nic', network: 'flbr0', name: 'eth0', hwaddr: '00:16:3e:12:34:56', 'ipv4.address': '10.0.0.2' },
    { type: 'nic', nictype: 'bridged', parent: 'br0', 'ipv6.address': 'none', 'limits.max': '100Mbit' },
    { type: 'unix-char', path: '/dev/fuse' },
    { type: 'unix-block', source: '/dev/sdb', path: '/dev/x', mode: '0600', uid: '1000' },
  ])('accept %j', (device) => {
    expect(deviceProblems('d0', device)).toEqual([]);
  });

  it.each<[Device, string]>([
    [{ type: 'gpu' }, 'supported types are none, nic, disk, unix-char, unix-block'],
    [{ type: 'toString' }, 'supported types'],
    [{}, 'has no type'],
    [{ type: 'nic' }, 'needs network=NAME'],
    [{ type: 'nic', nictype: 'macvlan', parent: 'eth0' }, 'expected bridged'],
    [{ type: 'nic', network: 'flbr0', parent: 'eth0' }, 'takes no nictype or parent'],
    [{ type: 'nic', network: 'flbr0', hwaddr: '01:00:5e:00:00:01' }, 'MAC address'],
    [{ type: 'nic', network: 'flbr0', 'ipv4.address': '10.0.0.300' }, 'IPv4 address'],
    [{ type: 'nic', network: 'flbr0', name: 'a\nlxc.hook.start' }, 'line break'],
    [{ type: 'nic', network: 'flbr0', wifi: 'on' }, 'unknown option "wifi"'],
    [{ type: 'nic', network: 'flbr0', constructor: 'x' }, 'unknown option "constructor"'],
    [{ type: 'nic', network: '../x' }, 'interface name'],
    [{ type: 'disk', path: '/' }, 'needs pool='],
    [{ ...ROOT, source: '/etc' }, 'root disk, which has no source'],
    [{ type: 'disk', path: '/data', source: '/srv/../etc' }, 'absolute path'],
    [{ type: 'disk', path: 'data', source: '/srv' }, 'absolute path'],
    [{ type: 'disk', path: '/data', source: 'volume' }, 'absolute path'],
    [{ type: 'disk', path: '/data', pool: 'default', source: '/x' }, 'not supported yet'],
    [{ type: 'disk', path: '/a', source: '/b', 'raw.mount.options': 'suid' }, 'unknown option'],
    [{ type: 'unix-char' }, 'needs source= or path='],
    [{ type: 'unix-char', path: '/dev/x', major: '1' }, 'both major= and minor='],
  ])('refuse %j: %s', (device, sentence) => {
    expect(() => validateDevices({ d0: device })).toThrow(sentence);
  });

  it.each(['__proto__', '../x', '', 'a b', '.a'])('refuse the name %j', (name) => {
    expect(() => validateDevices(Object.fromEntries([[name, { type: 'none' }]]))).toThrow('not a valid device name');
  });

  it('are read into typed form', () => {
    expect(readDevice('root', ROOT)).toEqual({
      type: 'disk',
      path: '/',
      pool: 'default',
      sizeBytes: 10 * 1024 ** 3,
      readonly: false,
      required: true,
      recursive: false,
      shift: false,
    });
    expect(
      readDevice('eth0', { type: 'nic', network: 'flbr0', hwaddr: '00:16:3E:00:00:01', 'limits.max': '1Gbit' }),
    ).toMatchObject({
      bridge: 'flbr0',
      hwaddr: '00:16:3e:00:00:01',
      ingress: 1e9,
      macFiltering: false,
    });
    expect(readDevice('f', { type: 'unix-char', path: '/dev/fuse' })).toMatchObject({
      source: '/dev/fuse',
      mode: '0660',
    });
    expect(() => readDevice('f', { type: 'gpu' })).toThrow('supported types');
  });
});
