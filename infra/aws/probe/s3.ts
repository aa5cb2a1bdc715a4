import { DeleteObjectCommand, ListObjectVersionsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createHash, randomBytes, randomUUID } from 'node:crypto';

import type { Check } from './check.ts';
import { upload } from './objects.ts';

export interface Bucket {
  readonly client: S3Client;
  readonly region: string;
  readonly name: string;
  readonly prefix: string;
}

/** What S3 makes of URLs that we do not make, because nobody could say what they do. */
export function s3Checks({ client, region, name, prefix }: Bucket): Check[] {
  const bytes = randomBytes(1000);
  const put = (more: object = {}) => new PutObjectCommand({ Bucket: name, Key: `${prefix}${randomUUID()}`, ...more });
  return [
    {
      question: 'an upload whose URL carries the checksum of an empty body (the SDK as it comes) is answered',
      expected: '',
      look: async () => upload(await getSignedUrl(new S3Client({ region }), put()), {}, bytes),
    },
    {
      question: 'an upload of other bytes than the checksum in the query of its URL is answered',
      expected: '',
      look: async () => {
        const ChecksumSHA256 = createHash('sha256').update('other').digest('base64');
        return upload(await getSignedUrl(client, put({ ChecksumSHA256 })), {}, bytes);
      },
    },
  ];
}

/** Deletes every version of everything below the prefix. */
export async function removeAll({ client, name, prefix }: Bucket): Promise<number> {
  let removed = 0;
  for (;;) {
    const { Versions = [], DeleteMarkers = [] } = await client.send(
      new ListObjectVersionsCommand({ Bucket: name, Prefix: prefix }),
    );
    const found = [...Versions, ...DeleteMarkers];
    if (found.length === 0) return removed;
    for (const { Key, VersionId } of found)
      await client.send(new DeleteObjectCommand({ Bucket: name, Key, VersionId }));
    removed += found.length;
  }
}
