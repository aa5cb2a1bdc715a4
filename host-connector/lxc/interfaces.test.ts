import { describe, expect, it } from 'vitest';
import { parseAddresses } from './interfaces.ts';

const OUTPUT = JSON.stringify([
  {
    ifname: 'lo',
    flags: ['LOOPBACK', 'UP', 'LOWER_UP'],
    mtu: 65536,
    address: '00:00:00:00:00:00',
    addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8, scope: 'host' }],
    stats64: { rx: { bytes: 10, packets: 1 }, tx: { bytes: 10, packets: 1 } },
  },
  {
    ifname: 'eth0',
    flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
    mtu: 1500,
    address: '00:16:3e:01:02:03',
    addr_info: [
      { family: 'inet', local: '10.58.0.9', prefixlen: 24, scope: 'global' },
      { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
    ],
    stats64: { rx: { bytes: 100, packets: 3 }, tx: { bytes: 200, packets: 4 } },
  },
]);

describe('the network of an instance', () => {
  it('is what LXD shows: prefix lengths as text, scopes local, link and global, the other end on the host', () => {
    const network = parseAddresses(OUTPUT, { eth0: 'fl0a1b2c3d' });
    expect(network['lo']).toMatchObject({
      type: 'loopback',
      addresses: [{ netmask: '8', scope: 'local' }],
      host_name: '',
    });
    expect(network['eth0']).toEqual({
      addresses: [
        { family: 'inet', address: '10.58.0.9', netmask: '24', scope: 'global' },
        { family: 'inet6', address: 'fe80::1', netmask: '64', scope: 'link' },
      ],
      counters: { bytes_received: 100, bytes_sent: 200, packets_received: 3, packets_sent: 4 },
      hwaddr: '00:16:3e:01:02:03',
      host_name: 'fl0a1b2c3d',
      mtu: 1500,
      state: 'up',
      type: 'broadcast',
    });
  });
  it('is empty when ip says nothing, and leaves out what it cannot read', () => {
    expect(parseAddresses('', {})).toEqual({});
    expect(parseAddresses('[{"ifname":1},{}]', {})).toEqual({});
  });
});
