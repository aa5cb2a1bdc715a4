import { ApiGatewayManagementApiClient } from '@aws-sdk/client-apigatewaymanagementapi';
import { CreateTableCommand, DynamoDBClient, type CreateTableCommandInput } from '@aws-sdk/client-dynamodb';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { randomBytes, randomUUID } from 'node:crypto';

import type { Clock, Random } from '../../functions/ports/ports.ts';
import { startMoto } from '../lab/moto.ts';
import { openFaultProxy, type FaultProxy } from './fault-proxy.ts';

/** Why the tests that need moto cannot run here; undefined when they can. */
export const NO_CLOUD = process.getuid?.() === 0 ? undefined : 'moto runs in the lab, which needs root';

export const REGION = 'eu-west-1';
export const CREDENTIALS = { accessKeyId: 'AKIATEST', secretAccessKey: 'test-secret' };
export const BUCKET = 'fairlead-objects';
/** Short, so that tests of time-outs are. */
const REQUEST_TIMEOUT_MS = 800;
/** A delay beyond it. */
export const TOO_LATE_MS = 1100;

/** As infra/aws makes it. */
const TABLE_DESIGN: Omit<CreateTableCommandInput, 'TableName'> = {
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' },
    { AttributeName: 'sk', AttributeType: 'S' },
  ],
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
};

export const random: Random = { uuid: () => randomUUID(), bytes: (length) => randomBytes(length) };
export const clock: Clock = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms / 10)),
};

/** The services of an account: moto, reached through a proxy that can break things, with one bucket. */
export interface Cloud extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly dynamodb: DynamoDBClient;
  readonly s3: S3Client;
  readonly gateway: ApiGatewayManagementApiClient;
  /** A table with nothing in it; its name. */
  emptyTable(): Promise<string>;
}

/** Starts a cloud with clients as functions/aws/deployment.ts makes them, but for the time-out. */
export async function openCloud(): Promise<Cloud> {
  const undo = new AsyncDisposableStack();
  try {
    const moto = undo.use(await startMoto());
    const proxy = await openFaultProxy(moto.url, CREDENTIALS);
    undo.defer(() => proxy.close());
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
    for (const client of [dynamodb, s3, gateway]) undo.defer(() => client.destroy());
    // moto reads a service's code at its first request: for that a client needs patience.
    const patient = new DynamoDBClient(common);
    undo.defer(() => patient.destroy());
    const emptyTable = async () => {
      const TableName = `fairlead-${randomUUID()}`;
      await patient.send(new CreateTableCommand({ ...TABLE_DESIGN, TableName }));
      return TableName;
    };
    await emptyTable();
    await s3.send(
      new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: REGION } }),
    );
    const running = undo.move();
    return { proxy, dynamodb, s3, gateway, emptyTable, [Symbol.asyncDispose]: () => running.disposeAsync() };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}
