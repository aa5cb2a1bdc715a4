import { ApiGatewayManagementApiClient } from '@aws-sdk/client-apigatewaymanagementapi';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { randomBytes, randomUUID } from 'node:crypto';

import { FairleadError } from '#shared/errors.ts';
import manifest from '../../package.json' with { type: 'json' };
import { createLog } from '../ports/json-log.ts';
import type { Clock, Log, Ports, Random } from '../ports/ports.ts';
import { dynamodbRecords } from './dynamodb-records.ts';
import { gatewayLinks } from './gateway-links.ts';
import { objectJobs } from './object-jobs.ts';
import { s3Objects } from './s3-objects.ts';
import { loadTicketKey } from './ticket-key.ts';

/**
 * What a Lambda function is told of its deployment, by environment variables: names, never secrets.
 *
 * TABLE          the DynamoDB table: keys `pk` and `sk`, both strings; time to live on `ttl`; no index, no stream
 * BUCKET         the private bucket. Below `upload/` lie images, below `jobs/` jobs, `keys/ticket` is the ticket key
 * PUBLIC_URL     where users and hosts reach the deployment, https, without a path
 * LINK_URL       where websockets open, wss: a WebSocket API has a host name of its own, and no paths
 * RESTORED_AT    optional: the table is a backup as of then (ISO 8601)
 * DOWNLOADS_URL  optional: a CloudFront distribution through which signed downloads go
 * LINK_ENDPOINT  https://API.execute-api.REGION.amazonaws.com/STAGE: where the WebSocket API takes posts
 *
 * AWS_REGION and the credentials are Lambda's own. AWS_ENDPOINT_URL leads all of it to another place (tests).
 *
 * Entry points, each exporting `handler`, what calls them, and what of the above they use:
 *
 * http.ts        HTTP API, payload 2.0, stage `$default`                     all
 * authorizer.ts  WebSocket API, REQUEST authorizer, identity `Authorization`  TABLE, LINK_ENDPOINT (a copied host is cut off)
 * link.ts        WebSocket API, routes $connect, $disconnect and $default    all
 *                (selection `$request.body.t`; route `hb` is a mock that answers {"t":"hb"})
 * jobs.ts        an EventBridge schedule (each minute: the sweep), and        all
 *                S3 notifications of objects created below `jobs/`
 * bootstrap.ts   whoever deployed it, by "aws lambda invoke"                 TABLE, PUBLIC_URL
 *
 * Rights: on the table GetItem, Query, PutItem, DeleteItem and ConditionCheckItem; on the bucket GetObject, PutObject and DeleteObject below
 * `upload/` and `jobs/`, ListBucket (without it S3 answers 403 for what is not there), GetObject and PutObject of `keys/ticket`;
 * execute-api:ManageConnections on the stage (the authorizer: the table and ManageConnections only). Never a signed URL outlives the role's session, an hour or more; ours are good for minutes.
 */

/** Every attempt that a client of AWS makes ends by these: an API Gateway integration waits 29 s for all of them together. */
const CONNECT_MS = 1000;
const REQUEST_MS = 3000;
/** A whole object may take longer than a record. */
const OBJECT_REQUEST_MS = 20_000;

const clock: Clock = { now: () => Date.now(), sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };
const random: Random = { uuid: () => randomUUID(), bytes: (length) => randomBytes(length) };

/** What the authorizer needs of {@link Ports}; the rest is not even in its bundle. */
type AuthorizerPorts = Pick<Ports, 'records' | 'links' | 'clock' | 'log'> & {
  readonly deployment: Pick<Ports['deployment'], 'restoredAt'>;
};

/** The ports of the authorizer. */
export function authorizerPorts(env: NodeJS.ProcessEnv): AuthorizerPorts {
  return { records: records(env), links: links(env), clock, log: consoleLog(), deployment: restored(env) };
}

/** What the first login needs, and where the deployment is. */
export function bootstrapPorts(
  env: NodeJS.ProcessEnv,
): Pick<Ports, 'records' | 'clock' | 'random'> & { readonly publicUrl: string } {
  return { records: records(env), clock, random, publicUrl: publicUrl(env) };
}

/**
 * Makes something while the function starts, when Lambda lends it a whole processor, and gives it to every call.
 * A start that failed is told to the call, and tried again by the next one.
 */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  const get = () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
  // Whoever calls hears of a failure.
  get().catch(() => undefined);
  return get;
}

/** All ports. @throws FairleadError `internal` when the environment lacks a name, `unavailable` when the ticket key cannot be read. */
export async function openPorts(env: NodeJS.ProcessEnv): Promise<Ports> {
  const bucket = required(env, 'BUCKET');
  const client = new S3Client({
    requestHandler: handler(OBJECT_REQUEST_MS),
    // Else a signed PUT would carry the checksum of an empty body.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Only AWS has a host name for each bucket.
    forcePathStyle: env['AWS_ENDPOINT_URL'] !== undefined,
  });
  const objects = s3Objects({ client, bucket, downloadsUrl: env['DOWNLOADS_URL'] });
  const ticketKey = await loadTicketKey({ client, bucket, random });
  return {
    records: records(env),
    objects,
    links: links(env),
    jobs: objectJobs(objects, random),
    clock,
    random,
    log: consoleLog(),
    deployment: {
      publicUrl: publicUrl(env),
      linkUrl: required(env, 'LINK_URL'),
      ...restored(env),
      ticketKey,
      version: manifest.version,
    },
  };
}

function records(env: NodeJS.ProcessEnv): Ports['records'] {
  // Its retries know nothing of what a write has done already; ours do.
  const client = new DynamoDBClient({ maxAttempts: 1, requestHandler: handler(REQUEST_MS) });
  return dynamodbRecords({ client, table: required(env, 'TABLE'), clock, random });
}

function links(env: NodeJS.ProcessEnv): Ports['links'] {
  const endpoint = required(env, 'LINK_ENDPOINT');
  const client = new ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1, requestHandler: handler(REQUEST_MS) });
  return gatewayLinks({ client, clock, random });
}

function publicUrl(env: NodeJS.ProcessEnv): string {
  return required(env, 'PUBLIC_URL').replace(/\/+$/, '');
}

function restored({ RESTORED_AT }: NodeJS.ProcessEnv): Pick<Ports['deployment'], 'restoredAt'> {
  return RESTORED_AT ? { restoredAt: Date.parse(RESTORED_AT) } : {};
}

function handler(requestTimeout: number) {
  return { connectionTimeout: CONNECT_MS, requestTimeout, throwOnRequestTimeout: true };
}

function consoleLog(): Log {
  return createLog({ clock, write: (line) => process.stdout.write(line) });
}

function required(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value !== undefined && value !== '') return value;
  throw new FairleadError('internal', `The function's environment lacks ${name}. Deploy it again with "cdk deploy".`);
}
