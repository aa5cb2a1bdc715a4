import { describe, expect, it } from 'vitest';

import { instance, network, runningInstance } from '../testing/instances.ts';
import { useUtc } from '../testing/utc.ts';
import { instanceInfo } from './info.ts';

useUtc();
const NOW = Date.parse('2026-11-20T20:00:00Z');

describe('info of an instance', () => {
  it('is that of lxc', () => {
    const times = { created_at: '2026-11-20T18:05:00Z', expires_at: '0001-01-01T00:00:00Z' };
    const snapshot = { ...instance(), ...times, name: 's1', size: -1 };
    expect(instanceInfo(runningInstance({ location: 'none', snapshots: [snapshot] }), NOW)).toBe(`Name: c1
Status: RUNNING
Type: container
Architecture: x86_64
PID: 607
Created: 2026/11/20 18:03 UTC
Last Used: 2026/11/20 18:03 UTC

Resources:
  Processes: 2
  CPU usage:
    CPU usage (in seconds): 0
  Memory usage:
    Memory (current): 432.00KiB
    Memory (peak): 1.18MiB
  Network usage:
    lo:
      Type: loopback
      State: DOWN
      MTU: 65536
      Bytes received: 0B
      Bytes sent: 0B
      Packets received: 0
      Packets sent: 0
      IP addresses:

Snapshots:
+------+----------------------+------------+----------+
| NAME |       TAKEN AT       | EXPIRES AT | STATEFUL |
+------+----------------------+------------+----------+
| s1   | 2026/11/20 18:05 UTC |            | NO       |
+------+----------------------+------------+----------+
`);
  });

  it('lists addresses, and says what is old', () => {
    const state = { ...runningInstance().state!, network: { eth0: network('10.0.3.4') } };
    const away = { as_of: '2026-11-20T17:00:00Z', online: false };
    const text = instanceInfo(runningInstance({ state, fleet: away }), NOW);
    expect(text).toContain('Location: foo\nSeen: 3h ago (the host is offline');
    expect(text).toContain(`      Host interface: veth1
      MAC address: 00:16:3e:00:00:01
      MTU: 1500
      Bytes received: 1.50kB
`);
    expect(text).toContain('      IP addresses:\n        inet:  10.0.3.4/24 (global)\n');
  });
});
