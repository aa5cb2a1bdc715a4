import type { Measurement } from '#shared/link/commands.ts';
import { messageOf } from '#shared/errors.ts';
import type { InstanceFull, InstanceState } from '#shared/lxd/instance.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Stored } from '../../ports/records.ts';
import { askHost } from '../hosts/ask.ts';
import { hostByName, online, type HostRecord } from '../hosts/host.ts';
import { keys } from '../keys.ts';
import { profilesOf, type ProfileRecord } from '../profiles/profile.ts';
import { instanceEtag, renderFull, renderState, type Freshness, type InstanceRecord } from './instance.ts';
import { findInstance, type Found, type InstanceName } from './lookup.ts';

export type FleetInstance = InstanceFull & { fleet: Freshness };

/** Every instance of a project, or of one host, with the state the registry knows; ordered by name, then host. Answers for offline hosts too. */
export async function listInstances(
  ports: Ports,
  project: string,
  target: string | undefined,
): Promise<FleetInstance[]> {
  const [records, hosts, profiles] = await Promise.all([
    target === undefined ? everywhere(ports, project) : onHost(ports, project, target),
    allHosts(ports),
    profilesOf(ports.records, project),
  ]);
  const now = ports.clock.now();
  return records
    .map((record) => renderFull(record, hosts.get(record.host), profiles, now))
    .toSorted((a, b) => compare(a.name, b.name) || compare(a.location, b.location));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

async function everywhere(ports: Ports, project: string): Promise<InstanceRecord[]> {
  const pages = await Promise.all(keys.instances(project).map((pk) => queryAll<InstanceRecord>(ports.records, pk)));
  return pages.flat().map(({ data }) => data);
}

async function onHost(ports: Ports, project: string, target: string): Promise<InstanceRecord[]> {
  const host = await hostByName(ports.records, target);
  const pointers = await queryAll<{ id: string }>(ports.records, keys.instancesOn(host.data.id), `${project}#`);
  const stored = await Promise.all(
    pointers.map(({ data }) => ports.records.get<InstanceRecord>(keys.instance(project, data.id))),
  );
  return stored.flatMap((instance) => instance?.data ?? []);
}

async function allHosts(ports: Ports): Promise<Map<string, HostRecord>> {
  const pages = await Promise.all(keys.hosts().map((pk) => queryAll<HostRecord>(ports.records, pk)));
  return new Map(pages.flat().map(({ data }) => [data.id, data]));
}

/** One instance with its ETag; its state is measured now if its host is connected, else as the registry knows it. */
export async function getInstance(
  ports: Ports,
  name: InstanceName,
  options: { readonly measure: boolean },
): Promise<{ instance: FleetInstance; etag: string }> {
  const found = await findInstance(ports, name);
  const profiles: ReadonlyMap<string, ProfileRecord> = await profilesOf(ports.records, name.project);
  const measured = options.measure ? await measure(ports, found) : undefined;
  const { data } = found.instance;
  return {
    instance: renderFull(data, found.host.data, profiles, ports.clock.now(), measured),
    etag: instanceEtag(data),
  };
}

/** The state of an instance, measured now if its host is connected. */
export async function getState(ports: Ports, name: InstanceName): Promise<InstanceState> {
  const found = await findInstance(ports, name);
  return renderState(found.instance.data, await measure(ports, found));
}

/** Undefined when the host cannot answer: then the registry does. */
async function measure(ports: Ports, { instance, host }: Found): Promise<Measurement | undefined> {
  if (!online(host.data) || instance.data.task?.action === 'create') return undefined;
  try {
    const result = await askHost(ports, host.data, { kind: 'measure', id: instance.data.id });
    return result.kind === 'instance' ? result.report.measurement : undefined;
  } catch (error) {
    ports.log.info('state answered from the registry', { instance: instance.data.name, why: messageOf(error) });
    return undefined;
  }
}

/** The tail of an instance's console log. @throws FairleadError `host_offline`, `timed_out`. */
export async function consoleLog(ports: Ports, name: InstanceName): Promise<string> {
  const { instance, host }: { instance: Stored<InstanceRecord>; host: Stored<HostRecord> } = await findInstance(
    ports,
    name,
  );
  const result = await askHost(ports, host.data, { kind: 'console-log', id: instance.data.id });
  return result.kind === 'console-log' ? result.text : '';
}
