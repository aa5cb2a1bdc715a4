import {
  ConditionalCheckFailedException,
  TransactionCanceledException,
  type AttributeValue,
  type DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import {
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  TransactWriteCommand,
  type TransactWriteCommandInput,
} from '@aws-sdk/lib-dynamodb';

import { FairleadError } from '#shared/errors.ts';
import type { Clock, Random } from '../ports/ports.ts';
import { prepare, type Prepared } from '../ports/prepare.ts';
import {
  ConditionFailed,
  type Condition,
  type Key,
  type Page,
  type Query,
  type Records,
  type Stored,
} from '../ports/records.ts';
import { failureOf, persevere, type Failure } from './persevere.ts';

/** The most records in one page; DynamoDB ends one at 1 MB too. */
const MAX_PAGE = 500;

/**
 * A record as the table has it. `data` is JSON, which keeps every number and empty text as it was. `written` names the transaction that
 * wrote it. `expires` is exact (ms), `ttl` is DynamoDB's own (s).
 */
interface Item extends Key {
  readonly rev: number;
  readonly data: string;
  readonly written: string;
  readonly expires?: number;
  readonly ttl?: number;
}

export interface DynamodbOptions {
  /** With `maxAttempts: 1`, since only this adapter knows what may be repeated. */
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Random;
}

/**
 * Records in one DynamoDB table: every read is strongly consistent, one write costs one unit, several are one transaction (two units each).
 *
 * A write is repeated only while it is certain that it does not happen twice: after a rejection always; after an unknown outcome when the
 * repetition can be told from a stranger's write, by the token of the transaction and by the mark `written` of its records.
 */
export function dynamodbRecords({ client, table, clock, random }: DynamodbOptions): Records {
  const db = DynamoDBDocumentClient.from(client);
  const pauses = { clock, random };
  const read = <T>(action: () => Promise<T>): Promise<T> =>
    persevere(pauses, action, (error) => failureOf(error) !== 'final').catch((error: unknown) => {
      throw presentable(error);
    });

  return {
    get: async <T>(key: Key) => {
      const found = await read(() =>
        db.send(new GetCommand({ TableName: table, Key: keyOf(key), ConsistentRead: true })),
      );
      return found.Item && stored<T>(found.Item as Item);
    },

    query: async <T>(pk: string, query: Query = {}): Promise<Page<T>> => {
      const { prefix = '', after, limit = MAX_PAGE, descending = false } = query;
      if (!(limit >= 1)) throw new FairleadError('internal', `a page of ${limit} records was asked for; at least 1`);
      const command = new QueryCommand({
        TableName: table,
        KeyConditionExpression: prefix === '' ? 'pk = :pk' : 'pk = :pk AND begins_with(sk, :prefix)',
        ExpressionAttributeValues: { ':pk': pk, ...(prefix !== '' && { ':prefix': prefix }) },
        ...(after !== undefined && { ExclusiveStartKey: { pk, sk: after } }),
        Limit: Math.min(limit, MAX_PAGE),
        ScanIndexForward: !descending,
        ConsistentRead: true,
      });
      const { Items = [], LastEvaluatedKey } = await read(() => db.send(command));
      const items = Items.map((item) => stored<T>(item as Item));
      return { items, ...(LastEvaluatedKey && { next: String(LastEvaluatedKey['sk']) }) };
    },

    transact: async (writes) => {
      const prepared = prepare(writes);
      const [first, second] = prepared;
      if (first === undefined) return;
      const token = random.uuid();
      const send =
        second === undefined && first.op !== 'check'
          ? writeOne(db, table, first, token)
          : writeAll(db, table, prepared, token);
      await commit({ pauses, token, send, repeatable: second !== undefined || first.op !== 'delete' });
    },
  };
}

interface Commit {
  readonly pauses: Parameters<typeof persevere>[0];
  readonly token: string;
  readonly send: () => Promise<unknown>;
  /** Whether it may be sent again after an unknown outcome: a lone deletion would take what somebody wrote in its place since. */
  readonly repeatable: boolean;
}

async function commit({ pauses, token, send, repeatable }: Commit): Promise<void> {
  let doubt = false;
  const again = (error: unknown) => {
    const failure = outcomeOf(error);
    doubt ||= failure === 'unknown';
    return failure === 'rejected' || (failure === 'unknown' && repeatable);
  };
  try {
    await persevere(pauses, send, again);
  } catch (error) {
    const failed = failedConditions(error);
    if (failed.length === 0) throw presentable(error);
    // An earlier attempt of ours had succeeded after all.
    if (failed.some(({ by }) => by === token)) return;
    // Perhaps it had, and somebody has changed our record since.
    if (doubt) throw inDoubt(error);
    throw new ConditionFailed(failed.map(({ index }) => index));
  }
}

function writeOne(db: DynamoDBDocumentClient, table: string, write: Exclude<Prepared, { op: 'check' }>, token: string) {
  const command =
    write.op === 'put'
      ? new PutCommand({ TableName: table, Item: itemOf(write, token), ...condition(write.when) })
      : new DeleteCommand({ TableName: table, Key: keyOf(write.key), ...(write.when && condition(write.when)) });
  return () => (command instanceof PutCommand ? db.send(command) : db.send(command));
}

function writeAll(db: DynamoDBDocumentClient, table: string, writes: readonly Prepared[], token: string) {
  const command = new TransactWriteCommand({
    ClientRequestToken: token,
    TransactItems: writes.map((write) => transactItem(table, write, token)),
  });
  return () => db.send(command);
}

type TransactItem = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

function transactItem(table: string, write: Prepared, token: string): TransactItem {
  const place = { TableName: table, Key: keyOf(write.key) };
  switch (write.op) {
    case 'put':
      return { Put: { TableName: table, Item: itemOf(write, token), ...condition(write.when) } };
    case 'delete':
      return { Delete: { ...place, ...(write.when && condition(write.when)) } };
    case 'check':
      return { ConditionCheck: { ...place, ...condition(write.when) } };
  }
}

/** A condition, and the wish to see the record that broke it. */
function condition(when: Condition) {
  return {
    ConditionExpression: when === 'absent' ? 'attribute_not_exists(pk)' : 'rev = :rev',
    ...(when !== 'absent' && { ExpressionAttributeValues: { ':rev': when.rev } }),
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD' as const,
  };
}

function keyOf({ pk, sk }: Key): Key {
  return { pk, sk };
}

function itemOf({ key, when, json, expires }: Extract<Prepared, { op: 'put' }>, written: string): Item {
  const expiry = expires === undefined ? {} : { expires, ttl: Math.ceil(expires / 1000) };
  return { ...keyOf(key), rev: when === 'absent' ? 1 : when.rev + 1, data: json, written, ...expiry };
}

function stored<T>({ pk, sk, rev, data, expires }: Item): Stored<T> {
  return { pk, sk, rev, data: JSON.parse(data) as T, ...(expires !== undefined && { expiresAt: expires }) };
}

/** The writes whose condition did not hold, and who had written what stands there. */
function failedConditions(error: unknown): { readonly index: number; readonly by: string | undefined }[] {
  if (error instanceof ConditionalCheckFailedException) return [{ index: 0, by: writerOf(error.Item) }];
  if (!(error instanceof TransactionCanceledException)) return [];
  return (error.CancellationReasons ?? []).flatMap(({ Code, Item }, index) =>
    Code === 'ConditionalCheckFailed' ? [{ index, by: writerOf(Item) }] : [],
  );
}

function writerOf(item: Record<string, AttributeValue> | undefined): string | undefined {
  return item?.['written']?.S;
}

/** Reasons for which a transaction was cancelled and another attempt may not be. */
const PASSING = new Set(['TransactionConflict', 'ThrottlingError', 'ProvisionedThroughputExceeded']);

function outcomeOf(error: unknown): Failure {
  if (!(error instanceof TransactionCanceledException)) return failureOf(error);
  const reasons = (error.CancellationReasons ?? []).flatMap(({ Code = 'None' }) => (Code === 'None' ? [] : [Code]));
  return reasons.length > 0 && reasons.every((reason) => PASSING.has(reason)) ? 'rejected' : 'final';
}

/** What is no passing trouble goes on as it is: the log shall have DynamoDB's own words. */
function presentable(error: unknown): unknown {
  const outcome = outcomeOf(error);
  if (outcome === 'final') return error;
  return outcome === 'unknown' ? inDoubt(error) : busy(error);
}

function busy(cause: unknown): FairleadError {
  return new FairleadError('unavailable', 'The records are busy: too many write at once. Try again in a moment.', {
    cause,
  });
}

function inDoubt(cause: unknown): FairleadError {
  return new FairleadError(
    'unavailable',
    'The records did not answer in time. Whether a change was made is not known: look again before you repeat it.',
    { cause },
  );
}
