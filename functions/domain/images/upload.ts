import { FairleadError } from '#shared/errors.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { SignedPut } from '../../ports/objects.ts';
import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, queryAll, type Stored } from '../../ports/records.ts';
import { perform } from '../effects.ts';
import { operationEvent } from '../events/lifecycle.ts';
import { keys, partKey } from '../keys.ts';
import { newOperation, renderOperation } from '../operations/operation.ts';
import type { Actor } from '../trust/actor.ts';
import type { AliasRecord } from './image.ts';

/** An upload under way: what the client said it will send. Nothing of it is believed. */
export interface UploadRecord {
  readonly id: string;
  readonly project: string;
  readonly user: string;
  readonly size: number;
  readonly sha256: string;
  readonly parts: readonly UploadPart[];
  /** Finished: the operation that checks it. */
  readonly operation?: string;
  /** When it is swept away with its parts if it was not finished (ms). */
  readonly until: number;
}

export interface UploadPart {
  readonly length: number;
  readonly sha256: string;
}

/** The largest part, and how many an upload may have. */
export const MAX_PART_BYTES = 32 * 1024 * 1024;
export const MAX_PARTS = 1000;
/** Parts signed in one answer. */
export const SIGNED_AT_ONCE = 64;
/** An upload that is not finished by then is swept away. */
export const UPLOAD_MS = 24 * 60 * 60_000;
/** How long the check of an uploaded image may take. */
const INGEST_DEADLINE_MS = 60 * 60_000;

export interface UploadAnswer {
  readonly id: string;
  readonly parts: readonly ({ readonly index: number } & SignedPut)[];
}

/** Begins an upload. @throws FairleadError `bad_request` when parts and size do not fit. */
export async function beginUpload(
  ports: Ports,
  actor: Actor,
  project: string,
  request: Pick<UploadRecord, 'size' | 'sha256' | 'parts'>,
): Promise<UploadAnswer> {
  const total = request.parts.reduce((sum, { length }) => sum + length, 0);
  if (total !== request.size) {
    throw new FairleadError('bad_request', `The parts hold ${total} bytes, but the upload says ${request.size}.`);
  }
  const until = ports.clock.now() + UPLOAD_MS;
  const upload: UploadRecord = { id: ports.random.uuid(), project, user: actor.user, ...request, until };
  await ports.records.transact([{ op: 'put', key: keys.upload(upload.id), data: upload, when: 'absent' }]);
  return { id: upload.id, parts: await sign(ports, upload, 0) };
}

/** More URLs of an upload, or new ones for those that expired. @throws FairleadError `not_found`. */
export async function signUpload(ports: Ports, actor: Actor, id: string, from: number): Promise<UploadAnswer> {
  const { data } = await loadUpload(ports, actor.user, id);
  return { id, parts: await sign(ports, data, from) };
}

function sign(ports: Ports, upload: UploadRecord, from: number) {
  return Promise.all(
    upload.parts.slice(from, from + SIGNED_AT_ONCE).map(async (part, at) => {
      const index = from + at;
      const signed = await ports.objects.signPut(partKey(upload.id, index, part.sha256), { ...part, once: true });
      return { index, ...signed };
    }),
  );
}

/** An upload of this user. @throws FairleadError `not_found`. */
async function loadUpload(ports: Ports, user: string, id: string): Promise<Stored<UploadRecord>> {
  const stored = await ports.records.get<UploadRecord>(keys.upload(id));
  const open = stored?.data.operation === undefined && (stored?.data.until ?? 0) > ports.clock.now();
  if (open && stored?.data.user === user) return stored;
  throw notThere(id);
}

function notThere(id: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'not_found',
    `Upload "${id}" not found: it was finished, or lay unfinished for a day. Look whether the image is there, else start again.`,
    { cause },
  );
}

/** What becomes of an upload when it holds an image. */
export interface Publication {
  readonly upload: string;
  readonly filename: string;
  readonly public: boolean;
  readonly properties: Readonly<Record<string, string>>;
  readonly aliases: readonly Omit<AliasRecord, 'target'>[];
}

/** The client has sent everything: an operation checks it and makes it an image. @throws FairleadError `not_found`, `already_exists`. */
export async function finishUpload(
  ports: Ports,
  actor: Actor,
  project: string,
  publication: Publication,
): Promise<Operation> {
  const { data, rev } = await loadUpload(ports, actor.user, publication.upload);
  await refuseMissingParts(ports, data);
  const now = ports.clock.now();
  const { operation, write } = newOperation({
    id: ports.random.uuid(),
    project,
    description: 'Importing image',
    actor: actor.user,
    now,
    deadline: now + INGEST_DEADLINE_MS,
    job: 'ingest',
    request: publication,
  });
  const until = Math.max(data.until, operation.deadline);
  const finished: UploadRecord = { ...data, operation: operation.id, until };
  try {
    await ports.records.transact([write, { op: 'put', key: keys.upload(data.id), data: finished, when: { rev } }]);
  } catch (cause) {
    throw cause instanceof ConditionFailed ? notThere(data.id, cause) : cause;
  }
  await perform(ports, [
    { do: 'enqueue', job: { kind: 'ingest', project, operation: operation.id } },
    operationEvent(operation, 'none'),
  ]);
  return renderOperation(operation, 'none');
}

async function refuseMissingParts(ports: Ports, upload: UploadRecord): Promise<void> {
  const there = new Set(await ports.objects.list(`upload/${upload.id}/`));
  const missing = upload.parts.filter((part, index) => !there.has(partKey(upload.id, index, part.sha256)));
  if (missing.length > 0) {
    throw new FairleadError(
      'bad_request',
      `${missing.length} of ${upload.parts.length} parts were not uploaded yet. Upload them, then finish again.`,
    );
  }
}

/** Forgets an upload and deletes what was sent of it, unless it became an image or was discarded meanwhile. */
export async function discardUpload(ports: Ports, { data, rev }: Stored<UploadRecord>): Promise<void> {
  const key = keys.upload(data.id);
  try {
    // Claimed before its parts go, so that nobody can publish it any more; the sweep finishes what ends in between.
    await ports.records.transact([{ op: 'put', key, data: { ...data, until: 0 }, when: { rev } }]);
  } catch (error) {
    if (error instanceof ConditionFailed) return;
    throw error;
  }
  for (const [index, part] of data.parts.entries()) await ports.objects.delete(partKey(data.id, index, part.sha256));
  await ports.records.transact([{ op: 'delete', key }]);
}

/** Discards what lay unfinished for too long. */
export async function sweepUploads(ports: Ports): Promise<void> {
  const now = ports.clock.now();
  for (const upload of await queryAll<UploadRecord>(ports.records, keys.uploads())) {
    if (upload.data.until <= now) await discardUpload(ports, upload);
  }
}
