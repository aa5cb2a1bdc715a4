import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { sha256 } from '#shared/transfer/chunks.ts';
import { Batch } from './batch.ts';
import { MAX_DAMAGED, MAX_TRIES, Store, type Urls } from './store.ts';

const BYTES = new TextEncoder().encode('a chunk');
const TERMS = { name: 'fs1-000000', length: BYTES.length, sha256: sha256(BYTES) };

/** A store behind signed URLs that answers as a test says, in turn; after that with the last. */
function storeOf(
  answers: readonly ((() => Response) | Error)[],
  urls: Partial<Urls> = {},
  signal = new AbortController().signal,
) {
  const calls: string[] = [];
  const slept: number[] = [];
  const fetch = ((url: string, init: RequestInit = {}) => {
    const answer = answers[Math.min(calls.length, answers.length - 1)];
    calls.push(`${init.method ?? 'GET'} ${url}`);
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer?.());
  }) as typeof globalThis.fetch;
  const all: Urls = {
    puts: (objects) => Promise.resolve(objects.map(({ name }) => ({ url: `https://s/${name}`, headers: {} }))),
    gets: (names) => Promise.resolve(names.map((name) => `https://s/${name}`)),
    ...urls,
  };
  const world = { fetch, sleep: (ms: number) => Promise.resolve(void slept.push(ms)), random: () => 1 };
  return { store: new Store(all, world, signal), calls, slept };
}
const answer = (status: number, body?: Uint8Array) => (): Response => new Response(body as never, { status });

describe('putting an object', () => {
  it('is done when the store took it, or has it already', async () => {
    for (const status of [200, 204, 412]) {
      const { store, calls } = storeOf([answer(status)]);
      expect(await store.put(TERMS.name, BYTES)).toEqual(TERMS);
      expect(calls).toEqual([`PUT https://s/${TERMS.name}`]);
    }
  });

  it('is tried again with a fresh URL, waiting longer each time, and given up in the end', async () => {
    let asked = 0;
    const puts: Urls['puts'] = (objects) =>
      Promise.resolve(objects.map(() => ({ url: `https://s/${(asked += 1)}`, headers: {} })));
    const good = storeOf([new Error('reset'), answer(503), answer(403), answer(200)], { puts });
    await good.store.put(TERMS.name, BYTES);
    expect(good.calls).toEqual([1, 2, 3, 4].map((n) => `PUT https://s/${n}`));
    expect(good.slept).toEqual([500, 1000, 2000]);
    const bad = storeOf([answer(500)]);
    await expect(bad.store.put(TERMS.name, BYTES)).rejects.toMatchObject({ code: 'unavailable' });
    expect(bad.calls).toHaveLength(MAX_TRIES);
    expect(Math.max(...bad.slept)).toBe(30_000);
  });

  it('ends at once with the control plane’s refusal', async () => {
    const refused = new FairleadError('forbidden', 'not yours');
    const { store, calls } = storeOf([answer(200)], { puts: () => Promise.reject(refused) });
    await expect(store.put(TERMS.name, BYTES)).rejects.toBe(refused);
    expect(calls).toEqual([]);
  });
});

describe('fetching an object', () => {
  it('gives exactly the bytes that were named', async () => {
    expect(await storeOf([answer(200, BYTES)]).store.get(TERMS)).toEqual(BYTES);
  });

  it('comes again when it is short, long or missing, and is refused when it stays another', async () => {
    const long = new Uint8Array([...BYTES, 1]);
    const { store, calls } = storeOf([answer(404), answer(200, BYTES.slice(1)), answer(200, long), answer(200, BYTES)]);
    expect(await store.get(TERMS)).toEqual(BYTES);
    expect(calls).toHaveLength(4);
    const changed = Uint8Array.from(BYTES, (byte, index) => (index === 3 ? byte ^ 1 : byte));
    const damaged = storeOf([answer(200, changed)]);
    await expect(damaged.store.get(TERMS)).rejects.toThrow(/damaged in the store/);
    expect(damaged.calls).toHaveLength(MAX_DAMAGED);
  });

  it('ends when its move ends', async () => {
    const stop = new AbortController();
    const { store, slept } = storeOf([new Error('down')], {}, stop.signal);
    const ended = store.get(TERMS);
    stop.abort(new FairleadError('cancelled', 'over'));
    await expect(ended).rejects.toMatchObject({ code: 'cancelled' });
    expect(slept.length).toBeLessThan(2);
  });
});

describe('questions in batches', () => {
  it('go one batch at a time, each answer to its question', async () => {
    const batches: number[][] = [];
    const batch = new Batch<number, string>(3, (questions) => {
      batches.push(questions);
      return Promise.resolve(questions.map(String));
    });
    expect(await Promise.all([1, 2, 3, 4, 5, 6].map((question) => batch.ask(question)))).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
    ]);
    expect(batches).toEqual([[1], [2, 3, 4], [5, 6]]);
  });

  it('fail alone', async () => {
    const batch = new Batch<number, number>(1, ([question = 0]) =>
      question === 1 ? Promise.reject(new Error('no')) : Promise.resolve([question]),
    );
    const [one, two] = await Promise.allSettled([batch.ask(1), batch.ask(2)]);
    expect([one?.status, two]).toEqual(['rejected', { status: 'fulfilled', value: 2 }]);
    await expect(new Batch<number, number>(2, () => Promise.resolve([])).ask(1)).rejects.toThrow('missing');
  });
});
