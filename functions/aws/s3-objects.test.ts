import { S3Client } from '@aws-sdk/client-s3';
import { describe, expect, it } from 'vitest';

import { s3Objects } from './s3-objects.ts';

const client = new S3Client({
  region: 'eu-central-1',
  credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
  requestChecksumCalculation: 'WHEN_REQUIRED',
});
const KEY = 'upload/u/0000-ab';

describe('signed URLs of S3', () => {
  it('lead to the bucket', async () => {
    const url = await s3Objects({ client, bucket: 'objects' }).signGet(KEY, { as: 'image.tar.xz' });
    expect(url).toMatch(/^https:\/\/objects\.s3\.eu-central-1\.amazonaws\.com\/upload\/u\/0000-ab\?.*X-Amz-Signature=/);
  });

  it('lead downloads to CloudFront when told, signed for the bucket all the same, and never uploads', async () => {
    const downloadsUrl = 'https://d111.cloudfront.net';
    const [direct, passed] = [
      s3Objects({ client, bucket: 'objects' }),
      s3Objects({ client, bucket: 'objects', downloadsUrl }),
    ];
    const url = new URL(await passed.signGet(KEY));
    expect(url.origin).toBe(downloadsUrl);
    expect(url.pathname).toBe(`/${KEY}`);
    const parameters = (text: string) => [...new URL(text).searchParams.keys()];
    expect(parameters(url.href)).toEqual(parameters(await direct.signGet(KEY)));
    expect((await passed.signPut(KEY, { length: 1, sha256: 'ab'.repeat(32), once: true })).url).toMatch(
      /^https:\/\/objects\.s3\./,
    );
  });

  it('carry no checksum of an empty body', async () => {
    const { url } = await s3Objects({ client, bucket: 'objects' }).signPut(KEY, {
      length: 1,
      sha256: 'ab'.repeat(32),
      once: true,
    });
    expect(url).not.toContain('crc32');
    expect(new URL(url).searchParams.get('X-Amz-SignedHeaders')?.split(';')).toEqual(
      expect.arrayContaining(['content-length', 'host', 'if-none-match', 'x-amz-checksum-sha256']),
    );
  });
});
