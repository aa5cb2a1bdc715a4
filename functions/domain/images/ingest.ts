import { createHash } from 'node:crypto';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { MetadataFinder } from '#shared/image/find-metadata.ts';
import type { ImageMetadata } from '#shared/image/metadata.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored, Write } from '../../ports/records.ts';
import { decide, nothing } from '../decide.ts';
import { perform } from '../effects.ts';
import { objectEvent, operationEvent } from '../events/lifecycle.ts';
import { keys, partKey } from '../keys.ts';
import { ended, endOperation, type OperationRecord } from '../operations/operation.ts';
import { decompress } from './decompress.ts';
import type { AliasRecord, ImageParts, ImageRecord } from './image.ts';
import { discardUpload, type Publication, type UploadRecord } from './upload.ts';

const GONE = 'The upload is gone: it was cancelled, or took over an hour. Upload the image again.';

/**
 * Makes an image of an upload: computes its hash, checks every entry of its tarball, parses its metadata. Until the last write nothing
 * can be seen; a repeat finds the operation ended. A failure ends the operation with its reason and leaves no object behind.
 */
export async function ingest(ports: Ports, project: string, id: string): Promise<void> {
  const operation = await ports.records.get<OperationRecord>(keys.operation(project, id));
  if (operation === undefined || ended(operation.data)) return;
  const publication = operation.data.request as Publication;
  const upload = await ports.records.get<UploadRecord>(keys.upload(publication.upload));
  try {
    if (upload === undefined) throw new FairleadError('not_found', GONE);
    const metadata = await verify(ports, upload.data);
    await publish(ports, operation.data, upload.data, publication, metadata);
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    await fail(ports, operation.data, error);
    if (upload !== undefined) await discardUpload(ports, upload);
  }
}

/** Reads the whole upload once: the hash over the bytes as they are, the metadata out of what they hold. */
async function verify(ports: Ports, upload: UploadRecord): Promise<ImageMetadata> {
  const hash = createHash('sha256');
  const finder = new MetadataFinder('unified');
  for await (const chunk of decompress(hashed(readParts(ports, upload), hash))) finder.push(chunk);
  const computed = hash.digest('hex');
  if (computed !== upload.sha256) {
    throw new FairleadError(
      'bad_image',
      `The upload's SHA-256 is ${computed}, but ${upload.sha256} was announced. The file changed while it was sent, or was damaged: upload it again.`,
    );
  }
  return finder.finish();
}

async function* readParts(ports: Ports, upload: UploadRecord): AsyncGenerator<Uint8Array> {
  for (const [index, part] of upload.parts.entries())
    yield* await ports.objects.get(partKey(upload.id, index, part.sha256));
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: ReturnType<typeof createHash>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

async function publish(
  ports: Ports,
  operation: OperationRecord,
  upload: UploadRecord,
  publication: Publication,
  metadata: ImageMetadata,
): Promise<void> {
  const { project, actor } = operation;
  const { size, sha256: fingerprint } = upload;
  const now = ports.clock.now();
  const image = imageOf(operation, upload, publication, metadata, now);
  const parts: ImageParts = {
    parts: upload.parts.map((part, index) => ({ key: partKey(upload.id, index, part.sha256), ...part })),
  };
  const { effects } = await decide(
    ports,
    () => loadRivals(ports, operation, upload, publication),
    (state) => {
      const { running, open } = refuseRivals(state);
      const end = endOperation(running.data, running.rev, now, {
        status: STATUS.success,
        metadata: { fingerprint, size },
      });
      const aliases = publication.aliases.map((alias): Write => {
        const data: AliasRecord = { ...alias, target: fingerprint };
        return { op: 'put', key: keys.alias(project, alias.name), data, when: 'absent' };
      });
      return {
        writes: [
          { op: 'put', key: keys.image(project, fingerprint), data: image, when: 'absent' },
          { op: 'put', key: keys.imageParts(project, fingerprint), data: parts, when: 'absent' },
          { op: 'delete', key: keys.upload(upload.id), when: { rev: open.rev } },
          end.write,
          ...aliases,
        ],
        effects: [
          objectEvent('image-created', `/1.0/images/${fingerprint}`, project, now, actor),
          operationEvent(end.operation, 'none'),
        ],
        value: undefined,
      };
    },
  );
  await perform(ports, effects);
}

function imageOf(
  { project }: OperationRecord,
  upload: UploadRecord,
  publication: Publication,
  metadata: ImageMetadata,
  uploadedAt: number,
): ImageRecord {
  return {
    fingerprint: upload.sha256,
    project,
    architecture: metadata.architecture,
    properties: { ...metadata.properties, ...publication.properties },
    filename: publication.filename,
    size: upload.size,
    public: publication.public,
    createdAt: metadata.creation_date * 1000,
    uploadedAt,
  };
}

interface Rivals {
  readonly operation: Stored<OperationRecord> | undefined;
  readonly upload: Stored<UploadRecord> | undefined;
  readonly image: Stored<ImageRecord> | undefined;
  readonly aliases: readonly string[];
}

/** What may have come about while the upload was read: the job runs at least once, others import and cancel. */
async function loadRivals(
  ports: Ports,
  { project, id }: OperationRecord,
  upload: UploadRecord,
  publication: Publication,
): Promise<Rivals> {
  const { records } = ports;
  const taken = await Promise.all(publication.aliases.map(({ name }) => records.get(keys.alias(project, name))));
  return {
    operation: await records.get<OperationRecord>(keys.operation(project, id)),
    upload: await records.get<UploadRecord>(keys.upload(upload.id)),
    image: await records.get<ImageRecord>(keys.image(project, upload.sha256)),
    aliases: taken.flatMap((alias) => alias?.sk ?? []),
  };
}

function refuseRivals({ operation, upload, image, aliases }: Rivals) {
  if (operation === undefined || ended(operation.data) || upload === undefined || upload.data.until === 0)
    throw new FairleadError('conflict', GONE);
  if (image !== undefined) throw new FairleadError('already_exists', 'Image with same fingerprint already exists');
  if (aliases.length > 0) {
    throw new FairleadError(
      'already_exists',
      `Image alias ${aliases.join(', ')} already exists. Delete it or choose another, then import the image again.`,
    );
  }
  return { running: operation, open: upload };
}

/** Ends the operation with its reason, unless it was cancelled or another run of the job ended it. */
async function fail(ports: Ports, { project, id }: OperationRecord, error: FairleadError): Promise<void> {
  const { effects } = await decide(
    ports,
    () => ports.records.get<OperationRecord>(keys.operation(project, id)),
    (stored) => {
      if (stored === undefined || ended(stored.data)) return nothing(undefined);
      const outcome = { status: STATUS.failure, error: error.message };
      const end = endOperation(stored.data, stored.rev, ports.clock.now(), outcome);
      return { writes: [end.write], effects: [operationEvent(end.operation, 'none')], value: undefined };
    },
  );
  await perform(ports, effects);
}
