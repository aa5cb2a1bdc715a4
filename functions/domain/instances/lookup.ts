import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Stored } from '../../ports/records.ts';
import { hostById, hostByName, type HostRecord } from '../hosts/host.ts';
import { keys } from '../keys.ts';
import type { InstanceRecord } from './instance.ts';

/** How a user names an instance: on one host, or anywhere in the fleet. */
export interface InstanceName {
  readonly project: string;
  readonly name: string;
  /** A host's name. */
  readonly target?: string | undefined;
}

export interface Found {
  readonly instance: Stored<InstanceRecord>;
  readonly host: Stored<HostRecord>;
}

/**
 * The instance of that name.
 * @throws FairleadError `not_found`; `ambiguous_name` naming the hosts when several have one and none was named.
 */
export async function findInstance(ports: Ports, { project, name, target }: InstanceName): Promise<Found> {
  const { records } = ports;
  const named = await queryAll<{ id: string }>(records, keys.instancesNamed(project, name));
  const wanted = target === undefined ? undefined : await hostByName(records, target);
  const places = wanted === undefined ? named : named.filter(({ sk }) => sk === wanted.data.id);
  const [place, ...others] = places;
  if (place === undefined) {
    throw new FairleadError(
      'not_found',
      target === undefined ? `Instance "${name}" not found` : `Instance "${name}" not found on host "${target}"`,
    );
  }
  if (others.length > 0)
    throw await ambiguous(
      ports,
      name,
      places.map(({ sk }) => sk),
    );
  const [instance, host] = await Promise.all([
    records.get<InstanceRecord>(keys.instance(project, place.data.id)),
    hostById(records, place.sk),
  ]);
  if (instance === undefined || host === undefined)
    throw new FairleadError('not_found', `Instance "${name}" not found`);
  return { instance, host };
}

async function ambiguous(ports: Ports, name: string, ids: readonly string[]): Promise<FairleadError> {
  const hosts = await Promise.all(ids.map((id) => hostById(ports.records, id)));
  const names = hosts.flatMap((host) => host?.data.name ?? []).toSorted();
  return new FairleadError(
    'ambiguous_name',
    `Several hosts have an instance "${name}": ${names.join(', ')}. Name one, for example ${names[0]}:${name}.`,
  );
}
