import type { Ports } from '../../ports/ports.ts';
import { queryAll } from '../../ports/records.ts';
import type { HostRecord } from '../hosts/host.ts';
import type { OutboxEntry } from '../hosts/outbox.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { keys } from '../keys.ts';
import type { OperationRecord } from '../operations/operation.ts';
import { DEFAULT_PROJECT } from '../projects.ts';
import type { StreamRecord } from '../streams/tickets.ts';
import { examine, type Breach, type Registry } from './examine.ts';

/** Reads the registry and tells which of its invariants do not hold. Writes nothing. */
export async function examineRegistry(ports: Ports): Promise<Breach[]> {
  return examine(await readRegistry(ports), ports.clock.now());
}

async function readRegistry(ports: Ports): Promise<Registry> {
  const [hosts, instances, operations] = await Promise.all([
    all<HostRecord>(ports, keys.hosts()),
    all<InstanceRecord>(ports, keys.instances(DEFAULT_PROJECT)),
    all<OperationRecord>(ports, keys.operations(DEFAULT_PROJECT)),
  ]);
  const places = new Map<string, Map<string, string>>();
  const outbox: OutboxEntry[] = [];
  const streams: StreamRecord[] = [];
  for (const { id } of hosts) {
    const pointers = await queryAll<{ id: string }>(ports.records, keys.instancesOn(id));
    places.set(id, new Map(pointers.map(({ sk, data }) => [sk, data.id])));
    const waiting = keys.outboxOf(id);
    outbox.push(...(await queryAll<OutboxEntry>(ports.records, waiting.pk, waiting.prefix)).map(({ data }) => data));
    streams.push(...(await streamsOf(ports, id)));
  }
  return { hosts, instances, operations, places, outbox, streams };
}

async function all<T>(ports: Ports, partitions: readonly string[]): Promise<T[]> {
  const pages = await Promise.all(partitions.map((pk) => queryAll<T>(ports.records, pk)));
  return pages.flat().map(({ data }) => data);
}

async function streamsOf(ports: Ports, host: string): Promise<StreamRecord[]> {
  const { pk, prefix } = keys.streamsOfHost(host);
  const pointers = await queryAll<{ id: string }>(ports.records, pk, prefix);
  const stored = await Promise.all(pointers.map(({ data }) => ports.records.get<StreamRecord>(keys.stream(data.id))));
  return stored.flatMap((stream) => stream?.data ?? []);
}
