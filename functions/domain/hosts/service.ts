import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Write } from '../../ports/records.ts';
import { decide } from '../decide.ts';
import { perform } from '../effects.ts';
import { hostEvent } from '../events/lifecycle.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { forgetInstance } from '../instances/instance.ts';
import { keys } from '../keys.ts';
import { moveOf, tickMove } from '../moves/advance.ts';
import { failOperation } from '../operations/service.ts';
import type { OutboxEntry } from './outbox.ts';
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
  const next = change.name ?? name;
  const load = async () => ({
    stored: await hostByName(ports.records, name),
    taken: next !== name && (await ports.records.get(keys.hostName(next))) !== undefined,
  });
  const { effects } = await decide(ports, load, ({ stored, taken }) => {
    if (taken) throw new FairleadError('already_exists', `A host named "${next}" exists already. Choose another name.`);
    const { site = stored.data.site, labels = stored.data.labels } = change;
    const renamed: Write[] = [
      { op: 'delete', key: keys.hostName(name) },
      { op: 'put', key: keys.hostName(next), data: { id: stored.data.id }, when: 'absent' },
    ];
    return {
      writes: [putHost(stored, { name: next, site, labels }), ...(next === name ? [] : renamed)],
      effects: [hostEvent('host-updated', next, ports.clock.now())],
      value: undefined,
    };
  });
  await perform(ports, effects);
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
  await perform(ports, effects);
  await abandonWork(ports, id, name);
  // Read again: one may have been created until the moment the host's name went.
  for (const pointer of await queryAll<{ id: string }>(ports.records, keys.instancesOn(id))) {
    await forget(ports, id, pointer.sk, pointer.data.id);
  }
}

/** What waits for a host that is gone will never be done. */
async function abandonWork(ports: Ports, host: string, name: string): Promise<void> {
  const { pk, prefix } = keys.outboxOf(host);
  for (const { data } of await queryAll<OutboxEntry>(ports.records, pk, prefix)) {
    const move = moveOf(data);
    if (move === undefined)
      await failOperation(ports, data.project, data.operation, `Host "${name}" was removed from the fleet.`);
    else await tickMove(ports, data.project, move);
  }
}

async function forget(ports: Ports, host: string, place: string, id: string): Promise<void> {
  const [project = ''] = place.split('#');
  await decide(
    ports,
    () => ports.records.get<InstanceRecord>(keys.instance(project, id)),
    (instance) => ({
      // One that was only on its way here is still elsewhere.
      writes: instance?.data.host === host ? forgetInstance(instance.data, instance.rev) : [],
      effects: [],
      value: undefined,
    }),
  );
}
