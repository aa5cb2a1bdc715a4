import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  NotFound,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createHash } from 'node:crypto';

import { FairleadError } from '#shared/errors.ts';
import { SIGNED_URL_MS, type Objects } from '../ports/objects.ts';
import { disposition, mustBePossible, putHeaders } from '../ports/signed.ts';
import { failureOf } from './persevere.ts';

const SIGNED_URL_S = SIGNED_URL_MS / 1000;
/** A list is read into memory: more keys than any upload has parts. */
const MAX_LISTED = 20_000;
/** Signed as headers and not as parameters of the URL: only then does S3 hold the body to it. */
const CHECKSUM = 'x-amz-checksum-sha256';

export interface S3Options {
  /** With `requestChecksumCalculation: 'WHEN_REQUIRED'`, else a signed PUT carries the checksum of an empty body. */
  readonly client: S3Client;
  readonly bucket: string;
  /** A CloudFront distribution before the bucket that passes signed URLs through; they are signed for the bucket all the same. */
  readonly downloadsUrl?: string | undefined;
}

/**
 * Objects in one S3 bucket. The client's own retries stay on: whatever is done here may be done twice.
 * Without the right to list the bucket S3 answers 403 for an object that is not there.
 */
export function s3Objects({ client, bucket, downloadsUrl }: S3Options): Objects {
  const at = (key: string) => ({ Bucket: bucket, Key: key });
  const ask = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      throw presentable(error);
    });

  return {
    signPut: async (key, terms) => {
      mustBePossible(terms);
      const headers = putHeaders(terms);
      const command = new PutObjectCommand({
        ...at(key),
        ContentLength: terms.length,
        ...(headers[CHECKSUM] !== undefined && { ChecksumSHA256: headers[CHECKSUM] }),
        ...(terms.once && { IfNoneMatch: '*' }),
      });
      const url = await getSignedUrl(client, command, {
        expiresIn: SIGNED_URL_S,
        unhoistableHeaders: new Set([CHECKSUM]),
        signableHeaders: new Set(['host', ...Object.keys(headers)]),
      });
      return { url, headers };
    },

    signGet: async (key, { as } = {}) => {
      const command = new GetObjectCommand({ ...at(key), ResponseContentDisposition: disposition(as) });
      const url = await getSignedUrl(client, command, { expiresIn: SIGNED_URL_S });
      return downloadsUrl === undefined ? url : url.replace(new URL(url).origin, downloadsUrl);
    },

    put: async (key, bytes) => {
      const ChecksumSHA256 = createHash('sha256').update(bytes).digest('base64');
      await ask(client.send(new PutObjectCommand({ ...at(key), Body: bytes, ChecksumSHA256 })));
    },

    get: async (key) => {
      const { Body } = await ask(client.send(new GetObjectCommand(at(key))));
      if (Body === undefined) throw new FairleadError('not_found', `there is no object ${key}`);
      return Body as unknown as AsyncIterable<Uint8Array>;
    },

    head: async (key) => {
      try {
        const command = new HeadObjectCommand({ ...at(key), ChecksumMode: 'ENABLED' });
        const { ContentLength = 0, ChecksumSHA256 } = await client.send(command);
        const sha256 = ChecksumSHA256 === undefined ? undefined : Buffer.from(ChecksumSHA256, 'base64').toString('hex');
        return { length: ContentLength, ...(sha256 !== undefined && { sha256 }) };
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw presentable(error);
      }
    },

    list: async (prefix) => {
      const keys: string[] = [];
      let token: string | undefined;
      do {
        const command = new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: prefix,
          ...(token !== undefined && { ContinuationToken: token }),
        });
        const page = await ask(client.send(command));
        keys.push(...(page.Contents ?? []).flatMap(({ Key }) => Key ?? []));
        if (keys.length > MAX_LISTED)
          throw new FairleadError('internal', `more than ${MAX_LISTED} objects begin with ${prefix}; ask for fewer`);
        token = page.NextContinuationToken;
      } while (token !== undefined);
      return keys;
    },

    delete: async (key) => {
      await ask(client.send(new DeleteObjectCommand(at(key))));
    },
  };
}

function presentable(error: unknown): unknown {
  if (error instanceof NoSuchKey || error instanceof NotFound) {
    return new FairleadError('not_found', 'the object is not there (any more)', { cause: error });
  }
  if (failureOf(error) === 'final') return error;
  return new FairleadError('unavailable', 'The object store did not answer. Try again in a moment.', { cause: error });
}
