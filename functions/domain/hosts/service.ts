import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll, type Write } from '../../ports/records.ts';
import { decide } from '../decide.ts';
import { perform } from '../effects.ts';
import { hostEvent } from '../events/lifecycle.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { forgetInstance } from '../instances/instance.ts';
import { keys } from '../keys.ts';
import { hostByName, online, putHost, type HostRecord } from './host.ts';

/** A host as `/1.0/fleet/hosts` shows it. */
export interface Host {
  id: string;
  name: string;
  site: string;
  labels: Record<string, string>;
  status: 'online' | 'offline' | 'revoked' | 'quarantined';
  since: string;
  facts: HostRecord['facts'];
  enrolled_at: string;
}

function render(host: HostRecord): Host {
  const { id, name, site, labels, facts } = host;
  return {
    id,
    name,
    site,
    labels: { ...labels },
    status: host.status === 'active' ? (online(host) ? 'online' : 'offline') : host.status,
    since: new Date(host.since).toISOString(),
    facts,
    enrolled_at: new Date(host.enrolledAt).toISOString(),
  };
}

/** Every host, by name. */
export async function listHosts(ports: Ports): Promise<Host[]> {
  const pages = await Promise.all(keys.hosts().map((pk) => queryAll<HostRecord>(ports.records, pk)));
  return pages
    .flat()
    .map(({ data }) => render(data))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** @throws FairleadError `not_found`. */
export async function getHost(ports: Ports, name: string): Promise<Host> {
  return render((await hostByName(ports.records, name)).data);
}

/** The sites there are, with how many hosts each has. */
export async function listSites(ports: Ports): Promise<{ name: string; hosts: number }[]> {
  const counts = new Map<string, number>();
  for (const { site } of await listHosts(ports)) counts.set(site, (counts.get(site) ?? 0) + 1);
  return [...counts].map(([name, hosts]) => ({ name, hosts })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

export interface HostChange {
  readonly name?: string | undefined;
  readonly site?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** Renames a host, moves it to a site, or labels it. @throws FairleadError `not_found`, `already_exists`. */
export async function changeHost(ports: Ports, name: string, change: HostChange): Promise<void> {
  const stored = await hostByName(ports.records, name);
  const next = change.name ?? name;
  const { site = stored.data.site, labels = stored.data.labels } = change;
  const writes: Write[] = [putHost(stored, { name: next, site, labels })];
  if (next !== name) {
    writes.push(
      { op: 'delete', key: keys.hostName(name) },
      { op: 'put', key: keys.hostName(next), data: { id: stored.data.id }, when: 'absent' },
    );
  }
  try {
    await ports.records.transact(writes);
  } catch (cause) {
    if (!(cause instanceof ConditionFailed)) throw cause;
    throw new FairleadError(
      'already_exists',
      `A host named "${next}" exists already, or this one was changed at the same time.`,
      { cause },
    );
  }
  await perform(ports, [hostEvent('host-updated', next, ports.clock.now())]);
}

/**
 * Revokes a host and forgets it: its key is worth nothing from now on, its connection is closed. Containers that run there go on
 * running, unmanaged.
 * @throws FairleadError `wrong_state` while the registry has instances on it, unless forced; `not_found`.
 */
export async function removeHost(ports: Ports, name: string, force: boolean): Promise<void> {
  const stored = await hostByName(ports.records, name);
  const { id } = stored.data;
  const pointers = await queryAll<{ id: string }>(ports.records, keys.instancesOn(id));
  if (pointers.length > 0 && !force) {
    throw new FairleadError(
      'wrong_state',
      `Host "${name}" has ${pointers.length} instances. Delete them first, or use --force to forget them: they go on running there, unmanaged.`,
    );
  }
  const { effects } = await decide(
    ports,
    () => hostByName(ports.records, name),
    (host) => ({
      writes: [
        { op: 'delete', key: keys.host(id), when: { rev: host.rev } },
        { op: 'delete', key: keys.hostName(name) },
      ],
      effects: [
        ...(host.data.connection !== undefined ? [{ do: 'close', connection: host.data.connection } as const] : []),
        hostEvent('host-removed', name, ports.clock.now()),
      ],
      value: undefined,
    }),
  );
  for (const pointer of pointers) await forget(ports, pointer.sk, pointer.data.id);
  await perform(ports, effects);
}

async function forget(ports: Ports, place: string, id: string): Promise<void> {
  const [project = ''] = place.split('#');
  const instance = await ports.records.get<InstanceRecord>(keys.instance(project, id));
  if (instance !== undefined) await ports.records.transact(forgetInstance(instance.data, instance.rev));
}
