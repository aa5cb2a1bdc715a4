import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { dynamodbRecords } from '../../functions/aws/dynamodb-records.ts';
import { ConditionFailed, type Records, type Write } from '../../functions/ports/records.ts';
import { clock, NO_CLOUD, openCloud, random, TOO_LATE_MS, type Cloud } from './cloud.ts';
import type { Fault } from './fault-proxy.ts';

if (NO_CLOUD === undefined) onMoto();
else it.skip(`records on a faulty network: ${NO_CLOUD}`);

const THROTTLED: Fault = { kind: 'error', status: 400, type: 'ThrottlingException', applied: false };
const CONFLICT: Fault = { kind: 'error', status: 400, type: 'TransactionConflictException', applied: false };
const BROKEN: Fault = { kind: 'error', status: 500, type: 'InternalServerError', applied: false };
const BROKEN_AFTER: Fault = { ...BROKEN, applied: true };
const LOST: Fault = { kind: 'lost', applied: false };
const LOST_AFTER: Fault = { kind: 'lost', applied: true };
/** Past the client's time-out; the service does its work all the same. */
const LATE: Fault = { kind: 'late', ms: TOO_LATE_MS };

const PASSING: [string, Fault][] = [
  ['is throttled', THROTTLED],
  ['meets another write', CONFLICT],
  ['fails', BROKEN],
  ['fails after it was done', BROKEN_AFTER],
  ['is lost', LOST],
  ['loses its answer', LOST_AFTER],
  ['is answered too late', LATE],
];
const CERTAIN = PASSING.slice(0, 2);
const UNCERTAIN = PASSING.slice(2);

function onMoto(): void {
  let cloud: Cloud;
  let table: string;
  let records: Records;
  let partitions = 0;
  const partition = () => `faults#${(partitions += 1)}`;
  beforeAll(async () => {
    cloud = await openCloud();
    table = await cloud.emptyTable();
    records = dynamodbRecords({ client: cloud.dynamodb, table, clock, random });
  });
  afterAll(() => cloud[Symbol.asyncDispose]());

  const put = (pk: string, sk: string, data: unknown, rev?: number): Write => ({
    op: 'put',
    key: { pk, sk },
    data,
    when: rev === undefined ? 'absent' : { rev },
  });
  const stored = async (pk: string, sk = 'a') => (await records.get({ pk, sk }))?.data;
  const unavailable = (work: Promise<unknown>) =>
    expect(work).rejects.toMatchObject({ name: 'FairleadError', code: 'unavailable' });

  describe('a read', () => {
    it.each(PASSING)('that %s is repeated', async (_, fault) => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      cloud.proxy.begin(fault);
      expect(await stored(pk)).toBe(1);
      cloud.proxy.begin(fault);
      expect((await records.query(pk)).items).toHaveLength(1);
    });

    it('that always fails ends, and says so', async () => {
      cloud.proxy.begin(...Array.from({ length: 10 }, () => THROTTLED));
      await unavailable(records.get({ pk: 'a', sk: 'a' }));
      expect(cloud.proxy.seen).toHaveLength(4);
    });
  });

  describe('a creation', () => {
    it.each(PASSING)('that %s is done once', async (_, fault) => {
      const pk = partition();
      cloud.proxy.begin(fault);
      await records.transact([put(pk, 'a', 1)]);
      expect(cloud.proxy.seen.map(({ what }) => what)).toEqual(['PutItem', 'PutItem']);
      expect(await records.get({ pk, sk: 'a' })).toMatchObject({ rev: 1, data: 1 });
    });

    it.each(PASSING)('with others that %s is done once', async (_, fault) => {
      const pk = partition();
      await records.transact([put(pk, 'old', 1)]);
      cloud.proxy.begin(fault);
      const rest: Write[] = [
        { op: 'delete', key: { pk, sk: 'old' }, when: { rev: 1 } },
        { op: 'check', key: { pk, sk: 'none' }, when: 'absent' },
      ];
      await records.transact([put(pk, 'a', 1), put(pk, 'b', 1), ...rest]);
      const tokens = cloud.proxy.seen.map(({ body }) => JSON.parse(body.toString()).ClientRequestToken as string);
      expect(tokens).toHaveLength(2);
      expect(new Set(tokens).size).toBe(1);
      expect((await records.query(pk)).items.map(({ sk, rev }) => [sk, rev])).toEqual([
        ['a', 1],
        ['b', 1],
      ]);
    });
  });

  describe('a change', () => {
    it.each(PASSING)('that %s is made once', async (_, fault) => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      cloud.proxy.begin(fault);
      await records.transact([put(pk, 'a', 2, 1)]);
      expect(await records.get({ pk, sk: 'a' })).toMatchObject({ rev: 2, data: 2 });
    });

    it('of another revision fails for certain, also after it was throttled', async () => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      cloud.proxy.begin(THROTTLED);
      await expect(records.transact([put(pk, 'a', 2, 7)])).rejects.toBeInstanceOf(ConditionFailed);
    });

    it('that was perhaps made, before somebody else changed the record, is not called a failed condition', async () => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      // The first attempt is done and its answer lost; before the second one a stranger writes.
      let pauses = 0;
      const stranger = {
        sleep: async () => (pauses++ === 0 ? records.transact([put(pk, 'a', 'stranger', 2)]) : undefined),
      };
      const ours = dynamodbRecords({ client: cloud.dynamodb, table, clock: stranger, random });
      cloud.proxy.begin(LOST_AFTER);
      await unavailable(ours.transact([put(pk, 'a', 2, 1)]));
      expect(await stored(pk)).toBe('stranger');
    });
  });

  describe('a lone deletion', () => {
    it.each(CERTAIN)('that %s is done', async (_, fault) => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      cloud.proxy.begin(fault);
      await records.transact([{ op: 'delete', key: { pk, sk: 'a' }, when: { rev: 1 } }]);
      expect(await stored(pk)).toBeUndefined();
    });

    it.each(UNCERTAIN)('that %s is not repeated: it would take what came after it', async (_, fault) => {
      const pk = partition();
      await records.transact([put(pk, 'a', 1)]);
      cloud.proxy.begin(fault);
      await unavailable(records.transact([{ op: 'delete', key: { pk, sk: 'a' } }]));
      expect(cloud.proxy.seen).toHaveLength(1);
    });
  });

  it('a service that stays broken ends the work, in bounded time', async () => {
    const pk = partition();
    cloud.proxy.begin(...Array.from({ length: 10 }, () => BROKEN));
    await unavailable(records.transact([put(pk, 'a', 1), put(pk, 'b', 1)]));
    expect(cloud.proxy.seen).toHaveLength(4);
  });

  it('what no repetition mends is told in the words of DynamoDB', async () => {
    cloud.proxy.begin({ kind: 'error', status: 400, type: 'AccessDeniedException', applied: false });
    const error: unknown = await records.get({ pk: 'a', sk: 'a' }).catch((reason: unknown) => reason);
    expect(error).not.toBeInstanceOf(FairleadError);
    expect(error).toMatchObject({ name: 'AccessDeniedException' });
    expect(cloud.proxy.seen).toHaveLength(1);
  });
}
