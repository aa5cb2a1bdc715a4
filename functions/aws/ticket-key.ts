import { GetObjectCommand, PutObjectCommand, S3ServiceException, type S3Client } from '@aws-sdk/client-s3';
import { createSecretKey, type KeyObject } from 'node:crypto';

import { FairleadError, messageOf } from '#shared/errors.ts';
import type { Random } from '../ports/ports.ts';
import { statusOf } from './persevere.ts';

/**
 * The key that seals tickets is an object of the private bucket, made once by the first function that starts. There it is encrypted at rest,
 * readable by the roles that need it and no other, in no backup of the table, in no environment that the console shows, and no third service
 * has to be asked: one GET a cold start. Who deletes it (and restarts the functions) has a new key; streams in flight end then.
 */
const OBJECT_KEY = 'keys/ticket';
const KEY_BYTES = 32;

export interface TicketKeyOptions {
  readonly client: S3Client;
  readonly bucket: string;
  readonly random: Pick<Random, 'bytes'>;
}

/**
 * Reads the ticket key, or makes it; of several that make it at once the first one's counts.
 * @throws FairleadError `unavailable` when it cannot be read or is damaged.
 */
export async function loadTicketKey(options: TicketKeyOptions): Promise<KeyObject> {
  try {
    const secret = (await read(options)) ?? (await make(options)) ?? (await read(options));
    if (secret?.length === KEY_BYTES) return createSecretKey(secret);
  } catch (cause) {
    throw new FairleadError('unavailable', `The ticket key in S3 could not be read: ${messageOf(cause)}`, { cause });
  }
  throw new FairleadError(
    'unavailable',
    `${OBJECT_KEY} in ${options.bucket} is not ${KEY_BYTES} bytes. Restore it, or delete it: open streams end then.`,
  );
}

async function read({ client, bucket }: TicketKeyOptions): Promise<Uint8Array | undefined> {
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: OBJECT_KEY }));
    return await Body?.transformToByteArray();
  } catch (error) {
    // S3 does not tell a role that may not list whether it is absent or forbidden.
    if (hasStatus(error, 404, 403)) return undefined;
    throw error;
  }
}

/** Undefined when another function was faster. */
async function make({ client, bucket, random }: TicketKeyOptions): Promise<Uint8Array | undefined> {
  const secret = random.bytes(KEY_BYTES);
  try {
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: OBJECT_KEY, Body: secret, IfNoneMatch: '*' }));
    return secret;
  } catch (error) {
    // 409: the other one is still at it, and has put it there by the time it is read.
    if (hasStatus(error, 412, 409)) return undefined;
    throw error;
  }
}

function hasStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof S3ServiceException && statuses.includes(statusOf(error) ?? 0);
}
