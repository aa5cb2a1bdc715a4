import type { InstanceSpec, InstanceStatus, Measurement } from '#shared/link/commands.ts';
import { FairleadError } from '#shared/errors.ts';
import type { Instance, InstanceFull, InstanceState } from '#shared/lxd/instance.ts';
import type { Config, Devices } from '#shared/lxd/maps.ts';
import { NEVER, STATUS, STATUS_NAME, statusFields, type StatusCode } from '#shared/lxd/status.ts';

import { expand } from '#shared/config/expand.ts';

import type { Write } from '../../ports/records.ts';
import { online, type HostRecord } from '../hosts/host.ts';
import { keys } from '../keys.ts';
import type { ProfileRecord } from '../profiles/profile.ts';
import { sha256 } from '../secrets.ts';

/** An instance as it is stored. `host` and `epoch` change only by the commit of a move. Times in ms. */
export interface InstanceRecord {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly description: string;
  readonly host: string;
  readonly epoch: number;
  readonly architecture: string;
  readonly config: Config;
  readonly devices: Devices;
  readonly profiles: readonly string[];
  readonly ephemeral: boolean;
  readonly image?: { readonly fingerprint: string; readonly size: number };
  /** What the host said last; how old that is, the host's presence tells. */
  readonly status: InstanceStatus;
  readonly error?: string;
  readonly measurement?: Measurement;
  /** The host's sequence number of `status`: an older one never overwrites it. */
  readonly seq: number;
  /** The one intent under way. */
  readonly task?: Task;
  readonly createdAt: number;
  readonly lastUsedAt?: number;
}

export interface Task {
  readonly operation: string;
  readonly action: 'create' | 'start' | 'stop' | 'restart' | 'freeze' | 'unfreeze' | 'update' | 'delete' | 'move';
}

/** An update that exchanges all of more profiles than this does not fit one transaction. */
export const MAX_PROFILES = 10;

/** @throws FairleadError `not_found` for a profile there is not, `bad_request` for too many or one named twice. */
export function checkProfiles(names: readonly string[], known: ReadonlyMap<string, unknown>): void {
  const missing = names.filter((name) => !known.has(name));
  if (missing.length > 0) {
    throw new FairleadError(
      'not_found',
      `Profile "${missing.join('", "')}" not found. "fairlead profile list" shows what there is.`,
    );
  }
  if (new Set(names).size < names.length)
    throw new FairleadError(
      'bad_request',
      'A profile is named twice. Name each once; later ones override earlier ones.',
    );
  if (names.length > MAX_PROFILES)
    throw new FairleadError('bad_request', `An instance takes at most ${MAX_PROFILES} profiles. Combine some of them.`);
}

const STATUS_CODE: Readonly<Record<InstanceStatus, StatusCode>> = {
  Stopped: STATUS.stopped,
  Running: STATUS.running,
  Frozen: STATUS.frozen,
  Error: STATUS.error,
};

/** The write that changes an instance. */
export function putInstance(record: InstanceRecord, rev: number): Write {
  return { op: 'put', key: keys.instance(record.project, record.id), data: record, when: { rev } };
}

/** The same instance without a task under way. */
export function withoutTask(record: InstanceRecord): InstanceRecord {
  const { task: _task, ...rest } = record;
  return rest;
}

/** Everything that names or indexes an instance, to be written once at its creation. */
export function indexWrites(record: InstanceRecord): Write[] {
  const data = { id: record.id };
  return [
    { op: 'put', key: keys.instanceOn(record.project, record.host, record.name), data, when: 'absent' },
    { op: 'put', key: keys.instanceNamed(record.project, record.name, record.host), data, when: 'absent' },
    ...profileUses(record),
  ];
}

export interface ProfileUse {
  readonly id: string;
  readonly name: string;
}

/** The rows that say which profiles an instance uses. */
export function profileUses(record: InstanceRecord): Write[] {
  return record.profiles.map((profile) => ({
    op: 'put',
    key: keys.profileUse(record.project, profile, record.id),
    // The name too, so that a profile can tell who uses it without reading them all.
    data: { id: record.id, name: record.name } satisfies ProfileUse,
    when: 'absent',
  }));
}

/** The writes that forget an instance. */
export function forgetInstance(record: InstanceRecord, rev: number): Write[] {
  return [
    { op: 'delete', key: keys.instance(record.project, record.id), when: { rev } },
    { op: 'delete', key: keys.instanceOn(record.project, record.host, record.name) },
    { op: 'delete', key: keys.instanceNamed(record.project, record.name, record.host) },
    ...record.profiles.map((profile): Write => ({
      op: 'delete',
      key: keys.profileUse(record.project, profile, record.id),
    })),
  ];
}

/** Configuration and devices with the profiles applied, in their order; profiles that are gone count as empty. */
export function expanded(
  record: Pick<InstanceRecord, 'config' | 'devices' | 'profiles'>,
  profiles: ReadonlyMap<string, ProfileRecord>,
) {
  return expand(
    record.profiles.flatMap((name) => profiles.get(name) ?? []),
    { config: record.config, devices: record.devices },
  );
}

/** What the host is told of an instance. */
export function specOf(record: InstanceRecord, profiles: ReadonlyMap<string, ProfileRecord>): InstanceSpec {
  const { config, devices } = expanded(record, profiles);
  return {
    id: record.id,
    name: record.name,
    project: record.project,
    epoch: record.epoch,
    architecture: record.architecture,
    config,
    devices,
    ...(record.image && { image: record.image }),
  };
}

/** An instance as LXD shows it. */
export function renderInstance(
  record: InstanceRecord,
  host: HostRecord | undefined,
  profiles: ReadonlyMap<string, ProfileRecord>,
  now: number,
): Instance & { fleet: Freshness } {
  const all = expanded(record, profiles);
  const code = STATUS_CODE[record.status];
  return {
    name: record.name,
    description: record.description,
    status: STATUS_NAME[code],
    status_code: code,
    type: 'container',
    architecture: record.architecture,
    ephemeral: record.ephemeral,
    stateful: false,
    profiles: [...record.profiles],
    config: record.config,
    devices: record.devices,
    expanded_config: all.config,
    expanded_devices: all.devices,
    created_at: new Date(record.createdAt).toISOString(),
    last_used_at: record.lastUsedAt === undefined ? NEVER : new Date(record.lastUsedAt).toISOString(),
    location: host?.name ?? 'none',
    project: record.project,
    fleet: freshness(host, now),
  };
}

export interface Freshness {
  readonly as_of: string;
  readonly online: boolean;
}

/** As of when the registry knows a host's instances: now while it is connected, else since it left. */
function freshness(host: HostRecord | undefined, now: number): Freshness {
  const connected = host !== undefined && online(host);
  return { as_of: new Date(connected ? now : (host?.since ?? 0)).toISOString(), online: connected };
}

/** The state the registry knows, or one that was just measured. */
export function renderState(record: InstanceRecord, measured?: Measurement): InstanceState {
  const now = measured ?? record.measurement;
  const status = measured?.status ?? record.status;
  const running = status === 'Running' || status === 'Frozen';
  return {
    ...statusFields(STATUS_CODE[status]),
    pid: running ? (now?.pid ?? 0) : 0,
    processes: running ? (now?.processes ?? 0) : 0,
    cpu: { usage: running ? (now?.cpu.usage ?? 0) : 0 },
    memory: (running && now?.memory) || { usage: 0, usage_peak: 0, total: 0, swap_usage: 0, swap_usage_peak: 0 },
    disk: now?.disk ?? {},
    network: running ? (now?.network ?? {}) : null,
  };
}

/** An instance with its state; snapshots and backups come with their own slices. */
export function renderFull(
  record: InstanceRecord,
  host: HostRecord | undefined,
  profiles: ReadonlyMap<string, ProfileRecord>,
  now: number,
  measured?: Measurement,
): InstanceFull & { fleet: Freshness } {
  return {
    ...renderInstance(record, host, profiles, now),
    state: renderState(record, measured),
    snapshots: null,
    backups: null,
  };
}

/** The ETag of what a PUT may change: read-only fields do not move it. */
export function instanceEtag(record: InstanceRecord): string {
  const { architecture, config, devices, ephemeral, profiles, description } = record;
  return sha256(JSON.stringify([architecture, sorted(config), sorted(devices), ephemeral, profiles, description]));
}

function sorted(value: object): unknown[] {
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]: [string, unknown]) => [
      key,
      typeof inner === 'object' && inner !== null ? sorted(inner) : inner,
    ]);
}
