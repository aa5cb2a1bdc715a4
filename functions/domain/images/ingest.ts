import { createHash } from 'node:crypto';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { MetadataFinder } from '#shared/image/find-metadata.ts';
import type { ImageMetadata } from '#shared/image/metadata.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, type Stored, type Write } from '../../ports/records.ts';
import { perform } from '../effects.ts';
import { objectEvent, operationEvent } from '../events/lifecycle.ts';
import { keys, partKey } from '../keys.ts';
import { ended, endOperation, type OperationRecord } from '../operations/operation.ts';
import { decompress } from './decompress.ts';
import type { ImageParts, ImageRecord } from './image.ts';
import { discardUpload, type Publication, type UploadRecord } from './upload.ts';

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
    if (upload === undefined) throw new FairleadError('not_found', 'The upload is gone. Upload the image again.');
    const metadata = await verify(ports, upload.data);
    await publish(ports, operation, upload, publication, metadata);
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    if (upload !== undefined) await discardUpload(ports, upload.data);
    await fail(ports, operation, error);
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
  operation: Stored<OperationRecord>,
  upload: Stored<UploadRecord>,
  publication: Publication,
  metadata: ImageMetadata,
): Promise<void> {
  const { project } = operation.data;
  const now = ports.clock.now();
  const { size, sha256: fingerprint } = upload.data;
  const image: ImageRecord = {
    fingerprint,
    project,
    architecture: metadata.architecture,
    properties: { ...metadata.properties, ...publication.properties },
    filename: publication.filename,
    size,
    public: publication.public,
    createdAt: metadata.creation_date * 1000,
    uploadedAt: now,
  };
  const parts: ImageParts = {
    parts: upload.data.parts.map((part, index) => ({ key: partKey(upload.data.id, index, part.sha256), ...part })),
  };
  const end = endOperation(operation.data, operation.rev, now, {
    status: STATUS.success,
    metadata: { fingerprint, size },
  });
  const writes: Write[] = [
    { op: 'put', key: keys.image(project, fingerprint), data: image, when: 'absent' },
    { op: 'put', key: keys.imageParts(project, fingerprint), data: parts, when: 'absent' },
    { op: 'delete', key: keys.upload(upload.data.id) },
    end.write,
    ...publication.aliases.map((alias): Write => ({
      op: 'put',
      key: keys.alias(project, alias.name),
      data: { ...alias, target: fingerprint },
      when: 'absent',
    })),
  ];
  try {
    await ports.records.transact(writes);
  } catch (error) {
    throw error instanceof ConditionFailed ? duplicate(error, publication) : error;
  }
  await perform(ports, [
    objectEvent('image-created', `/1.0/images/${fingerprint}`, project, now, operation.data.actor),
    operationEvent(end.operation, 'none'),
  ]);
}

function duplicate(error: ConditionFailed, publication: Publication): FairleadError {
  if (error.failed.includes(0))
    return new FairleadError('already_exists', 'Image with same fingerprint already exists', { cause: error });
  const names = publication.aliases.map(({ name }) => name).join(', ');
  return new FairleadError('already_exists', `An alias of ${names} already exists. Delete it, or choose another.`, {
    cause: error,
  });
}

async function fail(ports: Ports, operation: Stored<OperationRecord>, error: FairleadError): Promise<void> {
  const end = endOperation(operation.data, operation.rev, ports.clock.now(), {
    status: STATUS.failure,
    error: error.message,
  });
  await ports.records.transact([end.write]);
  await perform(ports, [operationEvent(end.operation, 'none')]);
}
