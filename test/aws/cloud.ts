import { ApiGatewayManagementApiClient } from '@aws-sdk/client-apigatewaymanagementapi';
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { randomBytes, randomUUID } from 'node:crypto';

import type { Clock, Random } from '../../functions/ports/ports.ts';
import { startMoto } from '../lab/moto.ts';
import { openFaultProxy, type FaultProxy } from './fault-proxy.ts';

/** Why the tests that need moto cannot run here; undefined when they can. */
export const NO_CLOUD = process.getuid?.() === 0 ? undefined : 'moto runs in the lab, which needs root';

export const REGION = 'eu-west-1';
export const CREDENTIALS = { accessKeyId: 'AKIATEST', secretAccessKey: 'test-secret' };
export const TABLE = 'fairlead';
export const BUCKET = 'fairlead-objects';
/** Short, so that tests of time-outs are; the adapters' callers choose. */
const REQUEST_TIMEOUT_MS = 400;

export const random: Random = { uuid: () => randomUUID(), bytes: (length) => randomBytes(length) };
export const clock: Clock = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms / 10)),
};

/** The services of an account: moto, reached through a proxy that can break things, with one table and one bucket. */
export interface Cloud extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly dynamodb: DynamoDBClient;
  readonly s3: S3Client;
  readonly gateway: ApiGatewayManagementApiClient;
}

/** Starts a cloud with clients as functions/aws/deployment.ts makes them, but for the time-out. */
export async function openCloud(): Promise<Cloud> {
  const moto = await startMoto();
  const proxy = await openFaultProxy(moto.url, CREDENTIALS);
  const common = { endpoint: proxy.url, region: REGION, credentials: CREDENTIALS };
  const requestHandler = { requestTimeout: REQUEST_TIMEOUT_MS, throwOnRequestTimeout: true };
  const dynamodb = new DynamoDBClient({ ...common, maxAttempts: 1, requestHandler });
  const s3 = new S3Client({
    ...common,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const gateway = new ApiGatewayManagementApiClient({ ...common, maxAttempts: 1, requestHandler });
  await dynamodb.send(
    new CreateTableCommand({
      TableName: TABLE,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        { AttributeName: 'pk', AttributeType: 'S' },
        { AttributeName: 'sk', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
    }),
  );
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: REGION } }));
  const end = async () => {
    for (const client of [dynamodb, s3, gateway]) client.destroy();
    await proxy.close();
    await moto.stop();
  };
  return { proxy, dynamodb, s3, gateway, [Symbol.asyncDispose]: end };
}
