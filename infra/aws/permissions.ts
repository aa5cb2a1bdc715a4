import type { FunctionName } from './settings.ts';

/** One statement of a role; `partitions` narrows it to records whose partition key is like one of these. */
export interface Grant {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly partitions?: readonly string[];
}

/** ARNs of what a deployment owns. */
export interface Owned {
  readonly table: string;
  readonly objects: string;
  /** The websocket API's stage, without a method. */
  readonly stage: string;
}

/** Partitions the authorizer needs: it proves who calls, and quarantines a host whose identity was copied. */
export const AUTHORIZER_PARTITIONS = ['APITOKEN#*', 'USERS', 'HOSTS#*', 'NONCE#*'];
/** Partitions in which the first login writes its user and token. */
export const BOOTSTRAP_PARTITIONS = ['USERS', 'APITOKEN#*', 'APITOKENS#*'];

/**
 * What each function may do, and nothing besides its own log. Records are read and written one by one: nobody scans, nobody changes or
 * deletes the table; a transaction is its single writes, IAM has no other action for it.
 */
export function permissions({ table, objects, stage }: Owned): Readonly<Record<FunctionName, readonly Grant[]>> {
  const records: Grant = {
    actions: ['GetItem', 'Query', 'PutItem', 'DeleteItem', 'ConditionCheckItem'].map((action) => `dynamodb:${action}`),
    resources: [table],
  };
  const post = manageConnections(stage, 'POST');
  const close = manageConnections(stage, 'DELETE');
  const on = (prefix: string, ...actions: string[]): Grant => ({
    actions: actions.map((action) => `s3:${action}`),
    resources: [`${objects}/${prefix}`],
  });
  /** Made by whoever starts first. Without ListBucket S3 answers 403 for what is not there, not 404. */
  const ticketKey = [on('keys/ticket', 'GetObject', 'PutObject'), { actions: ['s3:ListBucket'], resources: [objects] }];
  const common = [records, ...ticketKey, on('jobs/*', 'PutObject'), post, close];
  return {
    http: [...common, on('upload/*', 'GetObject', 'PutObject', 'DeleteObject')],
    authorizer: [{ ...records, partitions: AUTHORIZER_PARTITIONS }, close],
    // A host that asks for an image gets signed URLs.
    link: [...common, on('upload/*', 'GetObject')],
    ingest: [...common, on('jobs/*', 'GetObject', 'DeleteObject'), on('upload/*', 'GetObject', 'DeleteObject')],
    sweep: [...common, on('upload/*', 'DeleteObject')],
    bootstrap: [{ ...records, partitions: BOOTSTRAP_PARTITIONS }],
  };
}

function manageConnections(stage: string, method: 'POST' | 'DELETE'): Grant {
  return { actions: ['execute-api:ManageConnections'], resources: [`${stage}/${method}/@connections/*`] };
}
