import type { FleetInstance } from '../client/fleet.ts';

/** An instance as the API answers it, stopped and empty but for what is given. */
export function instance(fields: Partial<FleetInstance> = {}): FleetInstance {
  return {
    name: 'c1',
    description: '',
    status: 'Stopped',
    status_code: 102,
    type: 'container',
    architecture: 'x86_64',
    ephemeral: false,
    stateful: false,
    profiles: ['default'],
    config: {},
    devices: {},
    expanded_config: {},
    expanded_devices: {},
    created_at: '2026-11-20T18:03:00Z',
    last_used_at: '0001-01-01T00:00:00Z',
    location: 'foo',
    project: 'default',
    state: null,
    snapshots: [],
    backups: null,
    fleet: { as_of: '2026-11-20T19:59:00Z', online: true },
    ...fields,
  };
}

/** A running one, with the figures of the recorded `lxc info c1`. */
export function runningInstance(fields: Partial<FleetInstance> = {}): FleetInstance {
  const counters = { bytes_received: 0, bytes_sent: 0, packets_received: 0, packets_sent: 0 };
  return instance({
    status: 'Running',
    status_code: 103,
    last_used_at: '2026-11-20T18:03:00Z',
    state: {
      status: 'Running',
      status_code: 103,
      pid: 607,
      processes: 2,
      cpu: { usage: 12_345_678 },
      memory: { usage: 442_368, usage_peak: 1_237_319, total: 1_073_741_824, swap_usage: 0, swap_usage_peak: 0 },
      disk: null,
      network: {
        lo: { addresses: [], counters, hwaddr: '', host_name: '', mtu: 65_536, state: 'down', type: 'loopback' },
      },
    },
    ...fields,
  });
}

/** A network device with these IPv4 addresses. */
export function network(...addresses: string[]) {
  return {
    addresses: addresses.map((address) => ({
      family: 'inet' as const,
      address,
      netmask: '24',
      scope: 'global' as const,
    })),
    counters: { bytes_received: 1500, bytes_sent: 0, packets_received: 3, packets_sent: 0 },
    hwaddr: '00:16:3e:00:00:01',
    host_name: 'veth1',
    mtu: 1500,
    state: 'up' as const,
    type: 'broadcast',
  };
}
