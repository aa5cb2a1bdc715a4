import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { ConditionFailed, MAX_RECORD_BYTES, MAX_TRANSACTION, queryAll, type Records, type Write } from './records.ts';

/** An adapter under test: its records (a store of its own, or one shared with other suites) and how to end it. */
export interface RecordsUnderTest {
  readonly records: Records;
  close(): Promise<void>;
}

const put = (pk: string, sk: string, data: unknown, when: 'absent' | number = 'absent'): Write => ({
  op: 'put',
  key: { pk, sk },
  data,
  when: when === 'absent' ? 'absent' : { rev: when },
});

/** What every adapter of {@link Records} keeps. Every test uses partitions of its own, so that one store serves the whole suite. */
export function recordsContract(name: string, make: () => Promise<RecordsUnderTest>): void {
  describe(`${name} keeps the contract of Records`, () => {
    let under: RecordsUnderTest;
    let partitions = 0;
    const run = globalThis.crypto.randomUUID();
    const partition = () => `contract#${run}#${(partitions += 1)}`;
    beforeAll(async () => {
      under = await make();
    });
    afterAll(() => under.close());
    const records = () => under.records;

    singleRecords(records, partition);
    transactions(records, partition);
    queries(records, partition);
    bounds(records, partition);
  });
}

type Store = () => Records;
type Partition = () => string;

function singleRecords(records: Store, partition: Partition): void {
  it('gives back what was put, with a revision and its expiry', async () => {
    const pk = partition();
    const data = {
      text: 'naïve ☃ 𝄞 \u0001',
      list: [1, 2.5, -3e20, null, true],
      nested: { empty: {}, none: [], blank: '' },
    };
    await records().transact([{ op: 'put', key: { pk, sk: 'a' }, data, when: 'absent', expiresAt: 4_000_000_000_000 }]);
    const found = await records().get({ pk, sk: 'a' });
    expect(found).toMatchObject({ pk, sk: 'a', data, expiresAt: 4_000_000_000_000 });
    expect(found?.rev).toBeGreaterThan(0);
  });

  it('knows nothing of a key that was never put', async () => {
    const pk = partition();
    await records().transact([put(pk, 'a', 1)]);
    expect(await records().get({ pk, sk: 'b' })).toBeUndefined();
    expect(await records().get({ pk: partition(), sk: 'a' })).toBeUndefined();
  });

  it('keeps a copy: what the caller does to the data afterwards is not stored', async () => {
    const pk = partition();
    const data = { list: [1] };
    const done = records().transact([put(pk, 'a', data)]);
    data.list.push(2);
    await done;
    const found = await records().get<{ list: number[] }>({ pk, sk: 'a' });
    found?.data.list.push(3);
    expect((await records().get({ pk, sk: 'a' }))?.data).toEqual({ list: [1] });
  });

  it('gives every version of a record a revision of its own', async () => {
    const pk = partition();
    const revs = new Set<number>();
    await records().transact([put(pk, 'a', 0)]);
    for (let version = 1; version <= 5; version += 1) {
      const found = await records().get({ pk, sk: 'a' });
      revs.add(found!.rev);
      await records().transact([put(pk, 'a', version, found!.rev)]);
    }
    revs.add((await records().get({ pk, sk: 'a' }))!.rev);
    expect(revs.size).toBe(6);
    expect([...revs]).toEqual([...revs].sort((a, b) => a - b));
  });

  it('drops the expiry when a later version has none', async () => {
    const pk = partition();
    await records().transact([
      { op: 'put', key: { pk, sk: 'a' }, data: 1, when: 'absent', expiresAt: 4_000_000_000_000 },
    ]);
    const { rev } = (await records().get({ pk, sk: 'a' }))!;
    await records().transact([put(pk, 'a', 2, rev)]);
    expect(await records().get({ pk, sk: 'a' })).not.toHaveProperty('expiresAt');
  });

  it('deletes, with or without a revision, and finds nothing wrong in deleting what is not there', async () => {
    const pk = partition();
    await records().transact([put(pk, 'a', 1), put(pk, 'b', 1)]);
    const { rev } = (await records().get({ pk, sk: 'a' }))!;
    await records().transact([{ op: 'delete', key: { pk, sk: 'a' }, when: { rev } }]);
    await records().transact([{ op: 'delete', key: { pk, sk: 'b' } }]);
    await records().transact([{ op: 'delete', key: { pk, sk: 'b' } }]);
    expect((await records().query(pk)).items).toEqual([]);
  });
}

function transactions(records: Store, partition: Partition): void {
  it('lets exactly one of 50 parallel creations of a key win', async () => {
    const pk = partition();
    const tries = Array.from({ length: 50 }, (_, index) => records().transact([put(pk, 'name', { winner: index })]));
    const outcomes = await Promise.allSettled(tries);
    const winners = outcomes.flatMap((outcome, index) => (outcome.status === 'fulfilled' ? [index] : []));
    expect(winners).toHaveLength(1);
    expect((await records().get({ pk, sk: 'name' }))?.data).toEqual({ winner: winners[0] });
  });

  it('lets exactly one of 20 parallel changes of one revision win', async () => {
    const pk = partition();
    await records().transact([put(pk, 'a', 'before')]);
    const { rev } = (await records().get({ pk, sk: 'a' }))!;
    const tries = Array.from({ length: 20 }, (_, index) => records().transact([put(pk, 'a', index, rev)]));
    const outcomes = await Promise.allSettled(tries);
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
  });

  it('counts right when everyone reads, adds one and tries again', async () => {
    const pk = partition();
    await records().transact([put(pk, 'n', 0)]);
    const addOne = async () => {
      for (let attempt = 0; attempt < 200; attempt += 1) {
        const found = (await records().get<number>({ pk, sk: 'n' }))!;
        try {
          return await records().transact([put(pk, 'n', found.data + 1, found.rev)]);
        } catch (error) {
          const again =
            error instanceof ConditionFailed || (error instanceof FairleadError && error.code === 'unavailable');
          if (!again) throw error;
        }
      }
      throw new Error('never got through');
    };
    await Promise.all(Array.from({ length: 10 }, addOne));
    expect((await records().get({ pk, sk: 'n' }))?.data).toBe(10);
  });

  it('writes nothing when one condition fails, and says which ones failed', async () => {
    const pk = partition();
    await records().transact([put(pk, 'there', 1), put(pk, 'doomed', 1)]);
    const failing = records().transact([
      put(pk, 'new', 1),
      put(pk, 'there', 2),
      { op: 'delete', key: { pk, sk: 'doomed' } },
      { op: 'check', key: { pk, sk: 'missing' }, when: { rev: 1 } },
    ]);
    const error = await failing.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConditionFailed);
    expect((error as ConditionFailed).failed).toEqual([1, 3]);
    const left = await records().query<number>(pk);
    expect(left.items.map((item) => [item.sk, item.data])).toEqual([
      ['doomed', 1],
      ['there', 1],
    ]);
  });

  it('refuses a change or a removal of another revision, and of what is not there', async () => {
    const pk = partition();
    await records().transact([put(pk, 'a', 1)]);
    const { rev } = (await records().get({ pk, sk: 'a' }))!;
    await expect(records().transact([put(pk, 'a', 2, rev + 1)])).rejects.toBeInstanceOf(ConditionFailed);
    await expect(records().transact([put(pk, 'b', 2, rev)])).rejects.toBeInstanceOf(ConditionFailed);
    const removal: Write = { op: 'delete', key: { pk, sk: 'a' }, when: { rev: rev + 1 } };
    await expect(records().transact([removal])).rejects.toBeInstanceOf(ConditionFailed);
    expect((await records().get({ pk, sk: 'a' }))?.data).toBe(1);
  });

  it('checks without changing', async () => {
    const pk = partition();
    await records().transact([put(pk, 'a', 1)]);
    const before = (await records().get({ pk, sk: 'a' }))!;
    await records().transact([
      { op: 'check', key: { pk, sk: 'a' }, when: { rev: before.rev } },
      { op: 'check', key: { pk, sk: 'b' }, when: 'absent' },
      put(pk, 'c', 1),
    ]);
    expect(await records().get({ pk, sk: 'a' })).toEqual(before);
    expect(await records().get({ pk, sk: 'c' })).toBeDefined();
  });

  it('sees at once what was answered', async () => {
    const pk = partition();
    for (let index = 0; index < 20; index += 1) {
      await records().transact([put(pk, `k${index}`, index)]);
      expect((await records().get({ pk, sk: `k${index}` }))?.data).toBe(index);
      expect((await records().query(pk)).items).toHaveLength(index + 1);
    }
  });

  it('keeps a record whose time is over in the way of `absent` until the broom came', async () => {
    const pk = partition();
    // Long over (so long that DynamoDB's own broom leaves it alone). Readers compare with their clock, the store does not.
    await records().transact([{ op: 'put', key: { pk, sk: 'a' }, data: 1, when: 'absent', expiresAt: 1000 }]);
    expect(await records().get({ pk, sk: 'a' })).toMatchObject({ data: 1, expiresAt: 1000 });
    await expect(records().transact([put(pk, 'a', 2)])).rejects.toBeInstanceOf(ConditionFailed);
  });
}

function queries(records: Store, partition: Partition): void {
  const UNORDERED = ['b', 'a#2', 'a', 'B', 'é', 'a#10', '~', '𝄞', '\u{FFFD}', 'z', 'a$', '漢', 'ab'];
  const bytewise = (keys: readonly string[]) =>
    [...keys].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
  const fill = (pk: string, keys: readonly string[]) => records().transact(keys.map((sk) => put(pk, sk, sk)));

  it('orders by sort key, bytewise, also beyond ASCII and beyond the basic plane', async () => {
    const pk = partition();
    await fill(pk, UNORDERED);
    const up = await records().query(pk);
    expect(up.items.map((item) => item.sk)).toEqual(bytewise(UNORDERED));
    const down = await records().query(pk, { descending: true });
    expect(down.items.map((item) => item.sk)).toEqual(bytewise(UNORDERED).reverse());
  });

  it('takes a prefix literally', async () => {
    const pk = partition();
    await fill(pk, ['inst#1', 'inst#2', 'inst', 'inst$', 'inst#', 'insu', 'ins%', 'inst#\u{10FFFF}', 'INST#1']);
    const found = await records().query(pk, { prefix: 'inst#' });
    expect(found.items.map((item) => item.sk)).toEqual(['inst#', 'inst#1', 'inst#2', 'inst#\u{10FFFF}']);
    expect((await records().query(pk, { prefix: 'inst%' })).items).toEqual([]);
    expect((await records().query(pk, { prefix: 'inst#\u{10FFFF}' })).items).toHaveLength(1);
  });

  it.each([false, true])('reads on page by page, every record once (descending: %s)', async (descending) => {
    const pk = partition();
    const keys = Array.from({ length: 23 }, (_, index) => `k#${String(index).padStart(3, '0')}`);
    await fill(pk, [...keys, 'a']);
    const seen: string[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const page = await records().query(pk, { prefix: 'k#', limit: 5, descending, ...(after && { after }) });
      expect(page.items.length).toBeLessThanOrEqual(5);
      seen.push(...page.items.map((item) => item.sk));
      after = page.next;
      pages += 1;
    } while (after !== undefined);
    expect(seen).toEqual(descending ? keys.toReversed() : keys);
    expect(pages).toBeGreaterThanOrEqual(5);
  });

  it('goes on after a record that was deleted meanwhile', async () => {
    const pk = partition();
    await fill(pk, ['a', 'b', 'c', 'd']);
    const page = await records().query(pk, { limit: 2 });
    await records().transact([{ op: 'delete', key: { pk, sk: 'b' } }]);
    const rest = await records().query(pk, { limit: 2, after: page.next! });
    expect(rest.items.map((item) => item.sk)).toEqual(['c', 'd']);
  });

  it('ends a page before it grows without bound, and queryAll still finds everything', async () => {
    const pk = partition();
    const big = 'x'.repeat(300_000);
    for (let index = 0; index < 6; index += 1) await records().transact([put(pk, `big#${index}`, big)]);
    const page = await records().query(pk);
    expect(page.items.length).toBeLessThan(6);
    expect(page.next).toBeDefined();
    expect(await queryAll(records(), pk)).toHaveLength(6);
  });

  it('keeps partitions apart', async () => {
    const pk = partition();
    await fill(pk, ['a']);
    await fill(`${pk}0`, ['b']);
    expect((await records().query(pk)).items.map((item) => item.sk)).toEqual(['a']);
  });
}

function bounds(records: Store, partition: Partition): void {
  it(`takes ${MAX_TRANSACTION} writes and refuses one more`, async () => {
    const pk = partition();
    const writes = Array.from({ length: MAX_TRANSACTION + 1 }, (_, index) => put(pk, `k${index}`, index));
    await expect(records().transact(writes)).rejects.toBeInstanceOf(FairleadError);
    expect((await records().query(pk)).items).toEqual([]);
    await records().transact(writes.slice(0, MAX_TRANSACTION));
    expect((await records().query(pk)).items).toHaveLength(MAX_TRANSACTION);
  });

  it('refuses two writes of one key in one transaction', async () => {
    const pk = partition();
    await expect(records().transact([put(pk, 'a', 1), put(pk, 'a', 2)])).rejects.toBeInstanceOf(FairleadError);
    expect(await records().get({ pk, sk: 'a' })).toBeUndefined();
  });

  it('takes a record of the largest size and refuses one that is larger', async () => {
    const pk = partition();
    await records().transact([put(pk, 'fits', 'x'.repeat(MAX_RECORD_BYTES - 2))]);
    const tooLarge = records().transact([put(pk, 'large', 'é'.repeat(MAX_RECORD_BYTES / 2))]);
    await expect(tooLarge).rejects.toMatchObject({ code: 'body_too_large' });
  });

  it('refuses a transaction that is larger than all records may be together', async () => {
    const pk = partition();
    const writes = Array.from({ length: 12 }, (_, index) => put(pk, `k${index}`, 'x'.repeat(340_000)));
    await expect(records().transact(writes)).rejects.toMatchObject({ code: 'body_too_large' });
    expect((await records().query(pk)).items).toEqual([]);
    await records().transact(writes.slice(0, 11));
    expect(await queryAll(records(), pk)).toHaveLength(11);
  });

  it.each([
    ['an empty sort key', ''],
    ['a NUL', 'a\0b'],
    ['half a character', 'a\ud800'],
    ['1025 bytes', 'x'.repeat(1025)],
  ])('refuses %s', async (_, sk) => {
    await expect(records().transact([put(partition(), sk, 1)])).rejects.toBeInstanceOf(FairleadError);
  });
}
