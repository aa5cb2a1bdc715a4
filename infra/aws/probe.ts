/**
 * `npm run aws-probe -- outputs.json [--long]`: asks a deployment what AWS's documentation leaves open, and deletes what it made. It has never run
 * against AWS: its checks are tested against the local gateway and objects in files, which is what they are compared with.
 */
import { ApiGatewayManagementApiClient, PostToConnectionCommand } from '@aws-sdk/client-apigatewaymanagementapi';
import { S3Client } from '@aws-sdk/client-s3';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { LINK_PATH, websocketUrl } from '#shared/link/address.ts';
import { s3Objects } from '../../functions/aws/s3-objects.ts';
import { ask, line, type Check } from './probe/check.ts';
import { linkChecks, longChecks, type LinkWorld } from './probe/link.ts';
import { objectChecks } from './probe/objects.ts';
import { removeAll, s3Checks, type Bucket } from './probe/s3.ts';

const outputs = z.record(
  z.string(),
  z.object({
    Url: z.url(),
    LinkUrl: z.string(),
    LinkEndpoint: z.url(),
    DownloadsUrl: z.url(),
    ObjectsBucket: z.string(),
  }),
);
type Outputs = z.infer<typeof outputs>[string];

const [file, mode] = process.argv.slice(2);
process.exitCode = await main(file, mode === '--long').catch((error: unknown) => {
  if (!isFairleadError(error)) throw error;
  console.error(error.message);
  return 2;
});

async function main(path: string | undefined, long: boolean): Promise<number> {
  const deployment = readOutputs(path);
  const region = /\.execute-api\.([a-z0-9-]+)\./.exec(deployment.LinkEndpoint)?.[1] ?? '';
  const link = linkWorld(deployment, region);
  const client = new S3Client({ region, requestChecksumCalculation: 'WHEN_REQUIRED' });
  const bucket: Bucket = { client, region, name: deployment.ObjectsBucket, prefix: `upload/probe-${randomUUID()}/` };
  try {
    const checks = long ? longChecks(link) : [...linkChecks(link), ...bucketChecks(bucket, deployment)];
    const answers = await ask(checks, (answer) => console.log(line(answer)));
    const other = answers.filter(({ asExpected }) => !asExpected).length;
    console.log(
      `\n${answers.length} questions, ${other} answered otherwise than expected. Please put the answers into docs/aws.md.`,
    );
    return other === 0 ? 0 : 1;
  } finally {
    if (!long) console.log(`${await removeAll(bucket)} objects of the probe were deleted.`);
  }
}

function bucketChecks(bucket: Bucket, { DownloadsUrl: downloadsUrl }: Outputs): Check[] {
  const { client, name, prefix } = bucket;
  const objects = s3Objects({ client, bucket: name });
  return [
    ...objectChecks({ prefix, objects, passed: s3Objects({ client, bucket: name, downloadsUrl }) }),
    ...s3Checks(bucket),
  ];
}

function linkWorld({ Url, LinkUrl, LinkEndpoint: endpoint }: Outputs, region: string): LinkWorld {
  const client = new ApiGatewayManagementApiClient({ endpoint, region, maxAttempts: 1 });
  return {
    url: websocketUrl(Url, LinkUrl, LINK_PATH),
    options: { headers: { authorization: `Bearer ${token()}` } },
    post: async (ConnectionId, text) => {
      try {
        const answer = await client.send(new PostToConnectionCommand({ ConnectionId, Data: Buffer.from(text) }));
        return answer.$metadata.httpStatusCode ?? 0;
      } catch (error) {
        const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
        if (status === undefined) throw error;
        return status;
      }
    },
  };
}

function readOutputs(path: string | undefined): Outputs {
  if (path === undefined) {
    throw new FairleadError(
      'bad_request',
      'Say where "npx cdk deploy --outputs-file outputs.json" wrote: npm run aws-probe -- outputs.json',
    );
  }
  const [only] = Object.values(outputs.parse(JSON.parse(readFileSync(path, 'utf8'))));
  if (only === undefined) throw new FairleadError('bad_request', `${path} holds no stack's outputs.`);
  return only;
}

/** The token of the first login. */
function token(): string {
  const { FAIRLEAD_TOKEN, FAIRLEAD_DATA } = process.env;
  if (FAIRLEAD_TOKEN) return FAIRLEAD_TOKEN;
  if (!FAIRLEAD_DATA) {
    throw new FairleadError(
      'bad_request',
      'Log in first: run the command of the output "FirstLogin", which sets FAIRLEAD_DATA.',
    );
  }
  const client = z
    .object({ token: z.string() })
    .parse(JSON.parse(readFileSync(join(FAIRLEAD_DATA, 'client.json'), 'utf8')));
  return client.token;
}
