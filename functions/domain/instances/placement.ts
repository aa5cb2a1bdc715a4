import { FairleadError } from '#shared/errors.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Stored } from '../../ports/records.ts';
import { hostByName, online, type HostRecord } from '../hosts/host.ts';
import { keys } from '../keys.ts';

/** Two random hosts are compared: nearly as even as comparing all, without reading them all (the power of two choices). */
const CHOICES = 2;

/** The host a user named, or a connected one of that architecture with few instances. @throws FairleadError `not_found`, `unavailable`. */
export async function chooseHost(
  ports: Ports,
  target: string | undefined,
  architecture: string | undefined,
): Promise<Stored<HostRecord>> {
  if (target !== undefined) return usable(await hostByName(ports.records, target));
  const pages = await Promise.all(keys.hosts().map((pk) => queryAll<HostRecord>(ports.records, pk)));
  const candidates = fitting(pages.flat(), architecture);
  const drawn = draw(candidates, CHOICES, ports);
  const loads = await Promise.all(drawn.map((host) => queryAll(ports.records, keys.instancesOn(host.data.id))));
  const best = drawn.toSorted(
    (a, b) => (loads[drawn.indexOf(a)]?.length ?? 0) - (loads[drawn.indexOf(b)]?.length ?? 0),
  )[0];
  if (best !== undefined) return best;
  const wanted = architecture === undefined ? '' : ` of architecture ${architecture}`;
  throw new FairleadError(
    'unavailable',
    `No host${wanted} is connected. Enrol one with "fairlead host token", or name an offline host to let the work wait for it.`,
  );
}

function usable(host: Stored<HostRecord>): Stored<HostRecord> {
  if (host.data.status === 'active') return host;
  throw new FairleadError(
    'unavailable',
    `Host "${host.data.name}" is ${host.data.status} and gets no work. Choose another host.`,
  );
}

/** Pure: the connected hosts that can run the architecture. */
export function fitting(hosts: readonly Stored<HostRecord>[], architecture: string | undefined): Stored<HostRecord>[] {
  return hosts.filter(
    ({ data }) =>
      online(data) && (architecture === undefined || data.facts === null || data.facts.architecture === architecture),
  );
}

function draw<T>(from: readonly T[], count: number, ports: Ports): T[] {
  const rest = [...from];
  const drawn: T[] = [];
  while (drawn.length < count && rest.length > 0) {
    const at = Buffer.from(ports.random.bytes(4)).readUInt32BE() % rest.length;
    drawn.push(...rest.splice(at, 1));
  }
  return drawn;
}
