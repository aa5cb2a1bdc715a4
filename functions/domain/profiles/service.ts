import { openCeiling } from '#shared/config/policy.ts';
import { assertAllowed } from '#shared/config/restrictions.ts';
import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { Profile } from '#shared/lxd/profile.ts';
import { DEFAULT_PROFILE, DEFAULT_PROFILES } from '#shared/config/defaults.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll, type Condition, type Stored, type Write } from '../../ports/records.ts';
import { perform } from '../effects.ts';
import { objectEvent } from '../events/lifecycle.ts';
import { hostById } from '../hosts/host.ts';
import { assertFits } from '../hosts/outbox.ts';
import { reapplyProfiles } from '../instances/change.ts';
import { expanded, specOf, type InstanceRecord, type ProfileUse } from '../instances/instance.ts';
import { keys } from '../keys.ts';
import type { Actor } from '../trust/actor.ts';
import { profileEtag, profilesOf, renderProfile, type ProfileRecord } from './profile.ts';

/** Every profile of a project, by name. */
export async function listProfiles(ports: Ports, project: string): Promise<Profile[]> {
  const profiles = [...(await profilesOf(ports.records, project)).values()].toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  );
  return Promise.all(
    profiles.map(async (profile) => renderProfile(profile, await usedBy(ports, project, profile.name))),
  );
}

async function usedBy(ports: Ports, project: string, profile: string): Promise<string[]> {
  const uses = await queryAll<ProfileUse>(ports.records, keys.profileUses(project, profile));
  return uses.map(({ data }) => `/1.0/instances/${data.name}`);
}

async function users(ports: Ports, project: string, profile: string): Promise<Stored<InstanceRecord>[]> {
  const uses = await queryAll<{ id: string }>(ports.records, keys.profileUses(project, profile));
  const instances = await Promise.all(
    uses.map(({ data }) => ports.records.get<InstanceRecord>(keys.instance(project, data.id))),
  );
  return instances.filter((instance) => instance !== undefined);
}

/** One profile with its ETag. @throws FairleadError `not_found`. */
export async function getProfile(
  ports: Ports,
  project: string,
  name: string,
): Promise<{ profile: Profile; etag: string }> {
  const { record } = await load(ports, project, name);
  return { profile: renderProfile(record, await usedBy(ports, project, name)), etag: profileEtag(record) };
}

/** A profile and the condition its next write is made under; a built-in one is not written down yet. */
async function load(ports: Ports, project: string, name: string): Promise<{ record: ProfileRecord; when: Condition }> {
  const stored = await ports.records.get<ProfileRecord>(keys.profile(project, name));
  if (stored !== undefined) return { record: stored.data, when: { rev: stored.rev } };
  const builtIn = DEFAULT_PROFILES.find((profile) => profile.name === name);
  if (builtIn === undefined)
    throw new FairleadError('not_found', `Profile "${name}" not found. "fairlead profile list" shows what there is.`);
  return { record: builtIn, when: 'absent' };
}

/** @throws FairleadError `already_exists`, `bad_config`. */
export async function createProfile(
  ports: Ports,
  actor: Actor,
  project: string,
  profile: ProfileRecord,
): Promise<void> {
  if ((await profilesOf(ports.records, project)).has(profile.name)) throw exists(profile.name);
  assertAllowed(profile, openCeiling, 'project');
  await write(ports, project, profile, 'absent');
  await perform(ports, [event(ports, actor, 'profile-created', project, profile.name)]);
}

/**
 * Changes a profile, after checking what every instance that uses it would become; then each of those is updated.
 * @throws FairleadError `etag_mismatch`, `bad_config`, `forbidden`.
 */
export async function changeProfile(
  ports: Ports,
  actor: Actor,
  project: string,
  name: string,
  change: Partial<Omit<ProfileRecord, 'name'>>,
  how: { readonly patch: boolean; readonly ifMatch: string | undefined },
): Promise<void> {
  const { record, when } = await load(ports, project, name);
  if (how.ifMatch !== undefined && how.ifMatch !== profileEtag(record)) {
    throw new FairleadError(
      'etag_mismatch',
      `Profile "${name}" was changed by somebody else meanwhile. Read it again and repeat your change.`,
    );
  }
  const next = how.patch
    ? {
        ...record,
        ...change,
        config: { ...record.config, ...change.config },
        devices: { ...record.devices, ...change.devices },
      }
    : { ...record, ...change };
  assertAllowed(next, openCeiling, 'project');
  const affected = await users(ports, project, name);
  const profiles = new Map(await profilesOf(ports.records, project)).set(name, next);
  for (const { data } of affected) {
    assertAllowed(expanded(data, profiles), openCeiling, 'project');
    assertFits({ kind: 'update', instance: specOf(data, profiles) });
  }
  await write(ports, project, next, when);
  await perform(ports, [event(ports, actor, 'profile-updated', project, name)]);
  for (const instance of affected) await reapply(ports, actor, instance);
}

/** An instance that is busy just now gets the change with its next one. */
async function reapply(ports: Ports, actor: Actor, instance: Stored<InstanceRecord>): Promise<void> {
  const host = await hostById(ports.records, instance.data.host);
  if (host === undefined) return;
  try {
    await reapplyProfiles(ports, actor, { instance, host });
  } catch (error) {
    if (!isFairleadError(error, 'busy')) throw error;
    ports.log.info('profile change deferred: the instance is busy', { instance: instance.data.name });
  }
}

/** @throws FairleadError `wrong_state` while instances use it, `forbidden` for the default one. */
export async function deleteProfile(ports: Ports, actor: Actor, project: string, name: string): Promise<void> {
  if (name === DEFAULT_PROFILE)
    throw new FairleadError('forbidden', 'The "default" profile cannot be deleted; empty it instead.');
  const { when } = await load(ports, project, name);
  const inUse = await usedBy(ports, project, name);
  if (inUse.length > 0)
    throw new FairleadError(
      'wrong_state',
      `Profile "${name}" is used by ${inUse.length} instances. Take it off them first.`,
    );
  if (when === 'absent')
    throw new FairleadError('forbidden', `The "${name}" profile is built in and cannot be deleted.`);
  await ports.records.transact([{ op: 'delete', key: keys.profile(project, name), when }]);
  await perform(ports, [event(ports, actor, 'profile-deleted', project, name)]);
}

/** @throws FairleadError `already_exists`, `wrong_state` while instances use it. */
export async function renameProfile(
  ports: Ports,
  actor: Actor,
  project: string,
  name: string,
  next: string,
): Promise<void> {
  if (name === DEFAULT_PROFILE) throw new FairleadError('forbidden', 'The "default" profile cannot be renamed.');
  const { record, when } = await load(ports, project, name);
  if (when === 'absent')
    throw new FairleadError('forbidden', `The "${name}" profile is built in and cannot be renamed.`);
  if ((await profilesOf(ports.records, project)).has(next)) throw exists(next);
  const inUse = await usedBy(ports, project, name);
  if (inUse.length > 0)
    throw new FairleadError(
      'wrong_state',
      `Profile "${name}" is used by ${inUse.length} instances. Take it off them first.`,
    );
  const writes: Write[] = [
    { op: 'delete', key: keys.profile(project, name), when },
    { op: 'put', key: keys.profile(project, next), data: { ...record, name: next }, when: 'absent' },
  ];
  await ports.records.transact(writes).catch((cause: unknown) => {
    throw cause instanceof ConditionFailed ? exists(next, cause) : cause;
  });
  await perform(ports, [event(ports, actor, 'profile-renamed', project, next)]);
}

async function write(ports: Ports, project: string, profile: ProfileRecord, when: Condition): Promise<void> {
  const { name, description, config, devices } = profile;
  try {
    await ports.records.transact([
      { op: 'put', key: keys.profile(project, name), data: { name, description, config, devices }, when },
    ]);
  } catch (cause) {
    throw cause instanceof ConditionFailed ? exists(name, cause) : cause;
  }
}

function exists(name: string, cause?: unknown): FairleadError {
  return new FairleadError('already_exists', `Profile "${name}" already exists, or was changed at the same time.`, {
    cause,
  });
}

function event(ports: Ports, actor: Actor, action: string, project: string, name: string) {
  return objectEvent(action, `/1.0/profiles/${name}`, project, ports.clock.now(), actor.user);
}
