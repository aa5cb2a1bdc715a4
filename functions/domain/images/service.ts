import { FairleadError } from '#shared/errors.ts';
import { ANSWER_PARTS } from '#shared/link/limits.ts';
import type { Alias, Image } from '#shared/lxd/image.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll, type Stored, type Write } from '../../ports/records.ts';
import { perform } from '../effects.ts';
import { objectEvent } from '../events/lifecycle.ts';
import { commandById } from '../hosts/outbox.ts';
import { keys } from '../keys.ts';
import { endOperation, newOperation, renderOperation } from '../operations/operation.ts';
import type { Actor } from '../trust/actor.ts';
import { imageEtag, renderImage, type AliasRecord, type ImageParts, type ImageRecord } from './image.ts';
import { imageByPrefix, notFound } from './lookup.ts';

/** Every image of a project, newest first. */
export async function listImages(ports: Ports, project: string): Promise<Image[]> {
  const [pages, aliases] = await Promise.all([
    Promise.all(keys.images(project).map((pk) => queryAll<ImageRecord>(ports.records, pk))),
    aliasesOf(ports, project),
  ]);
  return pages
    .flat()
    .toSorted((a, b) => b.data.uploadedAt - a.data.uploadedAt)
    .map(({ data }) => renderImage(data, aliases));
}

async function aliasesOf(ports: Ports, project: string): Promise<AliasRecord[]> {
  return (await queryAll<AliasRecord>(ports.records, keys.aliases(project))).map(({ data }) => data);
}

/** One image by its fingerprint or the beginning of it. @throws FairleadError `not_found`. */
export async function getImage(ports: Ports, project: string, prefix: string): Promise<{ image: Image; etag: string }> {
  const [stored, aliases] = await Promise.all([imageByPrefix(ports, project, prefix), aliasesOf(ports, project)]);
  return { image: renderImage(stored.data, aliases), etag: imageEtag(stored.data) };
}

/** More do not fit one transaction beside the image. */
const ALIASES_AT_ONCE = 20;

/** Deletes an image with its aliases and its bytes. Instances made from it keep their copy on their hosts. */
export async function deleteImage(ports: Ports, actor: Actor, project: string, prefix: string): Promise<Operation> {
  const stored = await imageByPrefix(ports, project, prefix);
  const { fingerprint } = stored.data;
  const partsKey = keys.imageParts(project, fingerprint);
  const parts = await ports.records.get<ImageParts>(partsKey);
  const aliases = (await aliasesOf(ports, project)).filter(({ target }) => target === fingerprint);
  const now = ports.clock.now();
  const begun = newOperation({
    id: ports.random.uuid(),
    project,
    description: 'Deleting image',
    actor: actor.user,
    now,
  });
  const { operation, write } = endOperation(begun.operation, 0, now, { status: STATUS.success });
  const forgotten = aliases.map(({ name }): Write => ({ op: 'delete', key: keys.alias(project, name) }));
  while (forgotten.length > ALIASES_AT_ONCE) await ports.records.transact(forgotten.splice(0, ALIASES_AT_ONCE));
  try {
    await ports.records.transact([
      { op: 'delete', key: keys.image(project, fingerprint), when: { rev: stored.rev } },
      { op: 'delete', key: partsKey },
      ...forgotten,
      { ...write, when: 'absent' } as Write,
    ]);
  } catch (cause) {
    throw cause instanceof ConditionFailed ? notFound(prefix, cause) : cause;
  }
  for (const { key } of parts?.data.parts ?? []) await ports.objects.delete(key);
  await perform(ports, [objectEvent('image-deleted', `/1.0/images/${fingerprint}`, project, now, actor.user)]);
  return renderOperation(operation, 'none');
}

/** Every alias of a project, by name. */
export async function listAliases(ports: Ports, project: string): Promise<Alias[]> {
  return (await aliasesOf(ports, project)).map(renderAlias);
}

function renderAlias({ name, description, target }: AliasRecord): Alias {
  return { name, description, target, type: 'container' };
}

/** @throws FairleadError `not_found`; a fingerprint is not an alias (clients rely on that). */
export async function getAlias(ports: Ports, project: string, name: string): Promise<Alias> {
  return renderAlias((await loadAlias(ports, project, name)).data);
}

async function loadAlias(ports: Ports, project: string, name: string): Promise<Stored<AliasRecord>> {
  const stored = await ports.records.get<AliasRecord>(keys.alias(project, name));
  if (stored === undefined) throw new FairleadError('not_found', `Image alias "${name}" not found`);
  return stored;
}

/** @throws FairleadError `already_exists`, or `not_found` when there is no such image. */
export async function createAlias(ports: Ports, actor: Actor, project: string, alias: AliasRecord): Promise<void> {
  const image = await imageByPrefix(ports, project, alias.target);
  const data: AliasRecord = { ...alias, target: image.data.fingerprint };
  await commit(ports, alias.name, [
    { op: 'put', key: keys.alias(project, alias.name), data, when: 'absent' },
    { op: 'check', key: keys.image(project, data.target), when: { rev: image.rev } },
  ]);
  await perform(ports, [
    objectEvent('image-alias-created', `/1.0/images/aliases/${alias.name}`, project, ports.clock.now(), actor.user),
  ]);
}

/** Points an alias elsewhere, or describes it anew. */
export async function changeAlias(
  ports: Ports,
  actor: Actor,
  project: string,
  name: string,
  change: Partial<Pick<AliasRecord, 'description' | 'target'>>,
): Promise<void> {
  const stored = await loadAlias(ports, project, name);
  const target =
    change.target === undefined
      ? stored.data.target
      : (await imageByPrefix(ports, project, change.target)).data.fingerprint;
  const data: AliasRecord = { ...stored.data, ...change, target };
  await commit(ports, name, [{ op: 'put', key: keys.alias(project, name), data, when: { rev: stored.rev } }]);
  await perform(ports, [
    objectEvent('image-alias-updated', `/1.0/images/aliases/${name}`, project, ports.clock.now(), actor.user),
  ]);
}

/** @throws FairleadError `already_exists`. */
export async function renameAlias(ports: Ports, project: string, name: string, next: string): Promise<void> {
  const stored = await loadAlias(ports, project, name);
  await commit(ports, next, [
    { op: 'delete', key: keys.alias(project, name), when: { rev: stored.rev } },
    { op: 'put', key: keys.alias(project, next), data: { ...stored.data, name: next }, when: 'absent' },
  ]);
}

/** Forgets an alias; the image stays. */
export async function deleteAlias(ports: Ports, actor: Actor, project: string, name: string): Promise<void> {
  const stored = await loadAlias(ports, project, name);
  await commit(ports, name, [{ op: 'delete', key: keys.alias(project, name), when: { rev: stored.rev } }]);
  await perform(ports, [
    objectEvent('image-alias-deleted', `/1.0/images/aliases/${name}`, project, ports.clock.now(), actor.user),
  ]);
}

async function commit(ports: Ports, name: string, writes: readonly Write[]): Promise<void> {
  try {
    await ports.records.transact(writes);
  } catch (cause) {
    if (!(cause instanceof ConditionFailed)) throw cause;
    throw new FairleadError(
      'already_exists',
      `Image alias "${name}" already exists, or was changed at the same time.`,
      { cause },
    );
  }
}

/** Fresh URLs of an image's parts for a host that has a command which names the image. @throws FairleadError `forbidden`, `not_found`. */
export async function imagePartsForHost(
  ports: Ports,
  host: string,
  ask: { readonly command: string; readonly fingerprint: string; readonly from: number },
): Promise<{ parts: { url: string; length: number; sha256: string }[]; total: number }> {
  const found = await commandById(ports, ask.command);
  const command = found?.entry.data.command;
  const named =
    command !== undefined && 'instance' in command && command.instance.image?.fingerprint === ask.fingerprint;
  if (found?.host !== host || !named)
    throw new FairleadError('forbidden', 'No command under way on this host names that image.');
  const { project } = found.entry.data;
  const stored = await ports.records.get<ImageParts>(keys.imageParts(project, ask.fingerprint));
  if (stored === undefined) {
    throw new FairleadError(
      'not_found',
      `Image ${ask.fingerprint.slice(0, 12)} was deleted meanwhile. Import it again, or launch from another.`,
    );
  }
  const wanted = stored.data.parts.slice(ask.from, ask.from + ANSWER_PARTS);
  const parts = await Promise.all(
    wanted.map(async ({ key, length, sha256 }) => ({ url: await ports.objects.signGet(key), length, sha256 })),
  );
  return { parts, total: stored.data.parts.length };
}
