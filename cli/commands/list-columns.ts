import { FairleadError } from '#shared/errors.ts';
import type { InstanceState } from '#shared/lxd/instance.ts';
import type { FleetInstance } from '../client/fleet.ts';
import { age, dateTime } from '../output/age.ts';
import { bytesIec, shortFingerprint } from '../output/format.ts';

/** A column of `list`: its heading, and what stands in it for an instance. */
export interface Column {
  readonly heading: string;
  readonly cell: (instance: FleetInstance, now: number) => string;
}

/** How fresh the registry's word is, where the host is not there to ask. */
export const SEEN: Column = {
  heading: 'SEEN',
  cell: ({ fleet }, now) => (fleet?.online === false ? `offline, ${age(fleet.as_of, now)} ago` : ''),
};

/** lxc's letters (5.0.2), and `o` of our own. */
const COLUMNS: Readonly<Record<string, Column>> = {
  '4': { heading: 'IPV4', cell: ({ state }) => addresses(state, 'inet') },
  '6': { heading: 'IPV6', cell: ({ state }) => addresses(state, 'inet6') },
  a: { heading: 'ARCHITECTURE', cell: ({ architecture }) => architecture },
  b: { heading: 'STORAGE POOL', cell: ({ expanded_devices }) => rootPool(expanded_devices) },
  c: { heading: 'CREATED AT', cell: ({ created_at }) => dateTime(created_at) },
  d: { heading: 'DESCRIPTION', cell: ({ description }) => description },
  D: { heading: 'DISK USAGE', cell: ({ state }) => sizeOf(state?.disk?.['root']?.usage) },
  e: { heading: 'PROJECT', cell: ({ project }) => project },
  f: { heading: 'BASE IMAGE', cell: (instance) => shortFingerprint(baseImage(instance)) },
  F: { heading: 'BASE IMAGE', cell: (instance) => baseImage(instance) },
  l: { heading: 'LAST USED AT', cell: ({ last_used_at }) => dateTime(last_used_at) },
  L: { heading: 'LOCATION', cell: ({ location }) => location },
  m: { heading: 'MEMORY USAGE', cell: ({ state }) => sizeOf(state?.memory.usage) },
  M: { heading: 'MEMORY USAGE%', cell: ({ state }) => memoryShare(state) },
  n: { heading: 'NAME', cell: ({ name }) => name },
  N: { heading: 'PROCESSES', cell: ({ state }) => (state && state.pid > 0 ? String(state.processes) : '') },
  o: SEEN,
  p: { heading: 'PID', cell: ({ state }) => (state && state.pid > 0 ? String(state.pid) : '') },
  P: { heading: 'PROFILES', cell: ({ profiles }) => profiles.join('\n') },
  s: { heading: 'STATE', cell: ({ status }) => status.toUpperCase() },
  S: { heading: 'SNAPSHOTS', cell: ({ snapshots }) => String(snapshots?.length ?? 0) },
  t: { heading: 'TYPE', cell: ({ type, ephemeral }) => `${type.toUpperCase()}${ephemeral ? ' (EPHEMERAL)' : ''}` },
  u: {
    heading: 'CPU USAGE',
    cell: ({ state }) => (state && state.pid > 0 ? `${Math.floor(state.cpu.usage / 1e9)}s` : ''),
  },
};

/**
 * Reads lxc's `-c`: letters, or between commas a configuration key with an optional heading (`user.role:ROLE`).
 * @throws FairleadError `bad_request` that lists the letters
 */
export function parseColumns(text: string): Column[] {
  return text.split(',').flatMap((part) => {
    if (part.includes('.')) return [configColumn(part)];
    return Array.from(part, (letter) => {
      const column = COLUMNS[letter];
      if (column) return column;
      throw new FairleadError(
        'bad_request',
        `There is no column "${letter}". The columns are ${Object.keys(COLUMNS).join(' ')}, or a configuration key.`,
      );
    });
  });
}

function configColumn(part: string): Column {
  const [key = '', heading = key.toUpperCase()] = part.split(':');
  return { heading, cell: ({ expanded_config }) => expanded_config[key] ?? '' };
}

/** `10.0.3.4 (eth0)`, one a line; only those that others can reach. */
function addresses(state: InstanceState | null, family: 'inet' | 'inet6'): string {
  return Object.entries(state?.network ?? {})
    .flatMap(([device, { addresses: all }]) =>
      all.filter((a) => a.family === family && a.scope === 'global').map((a) => `${a.address} (${device})`),
    )
    .sort()
    .reverse()
    .join('\n');
}

function rootPool(devices: FleetInstance['expanded_devices']): string {
  return Object.values(devices).find((device) => device['type'] === 'disk' && device['path'] === '/')?.['pool'] ?? '';
}

function baseImage({ config }: FleetInstance): string {
  return config['volatile.base_image'] ?? '';
}

function sizeOf(bytes: number | undefined): string {
  return bytes === undefined || bytes <= 0 ? '' : bytesIec(bytes);
}

function memoryShare(state: InstanceState | null): string {
  const { usage = 0, total = 0 } = state?.memory ?? {};
  return usage > 0 && total > 0 ? `${((100 * usage) / total).toFixed(1)}%` : '';
}
