/** A registry as a fleet leaves it: written down directly, as if all of it had been launched long ago. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import type { Measurement } from '#shared/link/commands.ts';
import type { HostRecord } from '../../functions/domain/hosts/host.ts';
import { indexWrites, type InstanceRecord } from '../../functions/domain/instances/instance.ts';
import { keys } from '../../functions/domain/keys.ts';
import type { Records } from '../../functions/ports/records.ts';
import { openSqliteRecords } from '../../infra/embedded/sqlite-records.ts';
import { FACTS } from '../fake-host.ts';

/** Transactions under way at a time. */
const AT_ONCE = 200;
const FINGERPRINT = 'b'.repeat(64);

/** Opens the records below a data directory that no control plane is using. */
export async function withRecords(dataDir: string, work: (records: Records) => Promise<void>): Promise<void> {
  const records = openSqliteRecords(join(dataDir, 'records.db'));
  try {
    await work(records);
  } finally {
    await records.close();
  }
}

/** Writes hosts that are offline; their ids. */
export async function fillHosts(records: Records, count: number): Promise<string[]> {
  const hosts = Array.from({ length: count }, (_, at) => hostNamed(`host${at}`));
  await inBatches(hosts, (host) =>
    records.transact([
      { op: 'put', key: keys.host(host.id), data: host, when: 'absent' },
      { op: 'put', key: keys.hostName(host.name), data: { id: host.id }, when: 'absent' },
    ]),
  );
  return hosts.map(({ id }) => id);
}

/** Writes so many running instances, spread over the hosts; what was written. */
export async function fillInstances(
  records: Records,
  hosts: readonly string[],
  count: number,
): Promise<InstanceRecord[]> {
  const instances = Array.from({ length: count }, (_, at) => instanceOn(hosts[at % hosts.length] ?? '', at));
  await inBatches(instances, (record) =>
    records.transact([
      { op: 'put', key: keys.instance(record.project, record.id), data: record, when: 'absent' },
      ...indexWrites(record),
    ]),
  );
  return instances;
}

async function inBatches<T>(all: readonly T[], write: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += AT_ONCE) await Promise.all(all.slice(at, at + AT_ONCE).map(write));
}

function hostNamed(name: string): HostRecord {
  return {
    id: randomUUID(),
    name,
    site: 'default',
    labels: {},
    status: 'active',
    key: { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43) },
    secret: { generation: 1, hash: '' },
    facts: FACTS,
    since: 0,
    enrolledAt: 0,
  };
}

function instanceOn(host: string, at: number): InstanceRecord {
  const hwaddr = `00:16:3e:${[at >> 16, at >> 8, at].map((byte) => (byte & 255).toString(16).padStart(2, '0')).join(':')}`;
  return {
    id: randomUUID(),
    name: `web-${String(at).padStart(5, '0')}`,
    project: 'default',
    description: '',
    host,
    epoch: 1,
    architecture: 'x86_64',
    config: {
      'image.architecture': 'amd64',
      'image.description': 'Debian trixie amd64 (20260301_05:24)',
      'image.os': 'Debian',
      'image.release': 'trixie',
      'image.serial': '20260301_05:24',
      'limits.cpu': '2',
      'limits.memory': '512MiB',
      'volatile.base_image': FINGERPRINT,
      'volatile.eth0.hwaddr': hwaddr,
    },
    devices: {},
    profiles: ['default'],
    ephemeral: false,
    image: { fingerprint: FINGERPRINT, size: 100_000_000 },
    status: 'Running',
    measurement: measurementOf(at, hwaddr),
    seq: 1,
    createdAt: 1_770_000_000_000 + at,
    lastUsedAt: 1_770_000_000_000 + at,
  };
}

function measurementOf(at: number, hwaddr: string): Measurement {
  const counters = { bytes_received: 183_421 + at, bytes_sent: 20_184, packets_received: 1210, packets_sent: 244 };
  return {
    status: 'Running',
    pid: 4000 + at,
    processes: 12,
    cpu: { usage: 12_345_678_901 + at },
    memory: { usage: 48_123_904, usage_peak: 61_014_016, total: 536_870_912, swap_usage: 0, swap_usage_peak: 0 },
    disk: { root: { usage: 401_235_968, total: 0 } },
    network: {
      eth0: {
        addresses: [
          { family: 'inet', address: `10.88.${(at >> 8) & 255}.${at & 255}`, netmask: '24', scope: 'global' },
          { family: 'inet6', address: 'fe80::216:3eff:fe00:1', netmask: '64', scope: 'link' },
        ],
        counters,
        hwaddr,
        host_name: 'veth1f0c3e2a',
        mtu: 1500,
        state: 'up',
        type: 'broadcast',
      },
      lo: {
        addresses: [
          { family: 'inet', address: '127.0.0.1', netmask: '8', scope: 'local' },
          { family: 'inet6', address: '::1', netmask: '128', scope: 'local' },
        ],
        counters,
        hwaddr: '',
        host_name: '',
        mtu: 65_536,
        state: 'up',
        type: 'loopback',
      },
    },
  };
}
