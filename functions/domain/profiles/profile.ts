import { DEFAULT_PROFILES } from '#shared/config/defaults.ts';
import type { Config, Devices } from '#shared/lxd/maps.ts';
import type { Profile } from '#shared/lxd/profile.ts';

import { queryAll, type Records } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { sha256 } from '../secrets.ts';

export interface ProfileRecord {
  readonly name: string;
  readonly description: string;
  readonly config: Config;
  readonly devices: Devices;
}

/** Every profile of a project. `default` and `docker` exist from the start and are written down when they are first changed. */
export async function profilesOf(records: Records, project: string): Promise<Map<string, ProfileRecord>> {
  const stored = await queryAll<ProfileRecord>(records, keys.profiles(project));
  return new Map([
    ...DEFAULT_PROFILES.map((profile) => [profile.name, profile] as const),
    ...stored.map(({ data }) => [data.name, data] as const),
  ]);
}

/** A profile as LXD shows it. */
export function renderProfile(record: ProfileRecord, usedBy: readonly string[]): Profile {
  const { name, description, config, devices } = record;
  return { name, description, config, devices, used_by: [...usedBy] };
}

/** The ETag of what a PUT may change. */
export function profileEtag(record: ProfileRecord): string {
  return sha256(JSON.stringify([record.description, record.config, record.devices]));
}
