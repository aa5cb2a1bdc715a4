/** Objects of one attempt of a move: put and fetched under signed URLs, tried again when the network or a URL fails, verified. */
import { FairleadError, isFairleadError, messageOf } from '#shared/errors.ts';
import { ANSWER_PARTS, PUT_OBJECTS } from '#shared/link/limits.ts';
import { sha256 } from '#shared/transfer/chunks.ts';
import { Batch } from './batch.ts';

/** What is put or fetched: `length` in bytes, `sha256` in hex. */
export interface ObjectTerms {
  readonly name: string;
  readonly length: number;
  readonly sha256: string;
}

export interface SignedPut {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Asks the control plane where objects go and lie. Rejects with its refusal. */
export interface Urls {
  puts(objects: readonly ObjectTerms[]): Promise<readonly SignedPut[]>;
  gets(names: readonly string[]): Promise<readonly string[]>;
}

export interface StoreWorld {
  readonly fetch: typeof globalThis.fetch;
  readonly sleep: (ms: number) => Promise<void>;
  /** A number from 0 to below 1. */
  readonly random: () => number;
}

/** Tries of one object, with full jitter from the first to the longest wait between them: about two minutes. */
export const MAX_TRIES = 10;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
/** Times that an object may come with other bytes than it should. */
export const MAX_DAMAGED = 3;
/** One object, from the request to the last byte: at 14 kB/s. */
const TRY_MS = 5 * 60_000;

/** The objects of one attempt. */
export class Store {
  readonly #world: StoreWorld;
  readonly #signal: AbortSignal;
  readonly #puts: Batch<ObjectTerms, SignedPut>;
  readonly #gets: Batch<string, string>;

  /** `signal` ends everything under way. */
  constructor(urls: Urls, world: StoreWorld, signal: AbortSignal) {
    this.#world = world;
    this.#signal = signal;
    this.#puts = new Batch(PUT_OBJECTS, (objects) => urls.puts(objects));
    this.#gets = new Batch(ANSWER_PARTS, (names) => urls.gets(names));
  }

  /** Puts an object; one that is there already, by its name with the same bytes, is fine. @throws FairleadError `unavailable` */
  async put(name: string, bytes: Uint8Array, hash = sha256(bytes)): Promise<ObjectTerms> {
    const terms = { name, length: bytes.length, sha256: hash };
    await this.#tried('sent', async () => {
      const { url, headers } = await this.#puts.ask(terms);
      const answer = await this.#request(url, { method: 'PUT', headers, body: bytes as never });
      await answer.body?.cancel();
      if (answer.status !== 412 && (answer.status < 200 || answer.status > 299)) {
        throw new Error(`the store answered ${answer.status}`);
      }
    });
    return terms;
  }

  /** Fetches an object and verifies it. @throws FairleadError `unavailable` */
  get({ name, length, sha256: expected }: ObjectTerms): Promise<Uint8Array> {
    let damaged = 0;
    return this.#tried('fetched', async () => {
      const url = await this.#gets.ask(name);
      const answer = await this.#request(url, { headers: { 'accept-encoding': 'identity' } });
      if (answer.status !== 200) {
        await answer.body?.cancel();
        throw new Error(`the store answered ${answer.status}`);
      }
      const bytes = await bodyOf(answer, length);
      if (sha256(bytes) === expected) return bytes;
      damaged += 1;
      if (damaged < MAX_DAMAGED) throw new Error('it has a wrong SHA-256');
      throw new FairleadError(
        'unavailable',
        `${name} is damaged in the store: its SHA-256 is wrong, fetched ${MAX_DAMAGED} times. Nothing of it is used; move the instance again.`,
      );
    });
  }

  #request(url: string, init: RequestInit): Promise<Response> {
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(TRY_MS)]);
    return this.#world.fetch(url, { ...init, signal, redirect: 'error' });
  }

  async #tried<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    let why = '';
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries);
      if (tries > 0) await this.#world.sleep(this.#world.random() * longest);
      this.#signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        this.#signal.throwIfAborted();
        // The control plane's own refusal does not get better.
        if (isFairleadError(error)) throw error;
        const { cause } = error as { cause?: unknown };
        why = messageOf(cause ?? error);
      }
    }
    throw new FairleadError(
      'unavailable',
      `A part of the instance could not be ${what}: ${why} (tried ${MAX_TRIES} times). Check the host's connection, then move it again.`,
    );
  }
}

async function bodyOf(answer: Response, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  const reader = answer.body?.getReader();
  if (!reader) throw new Error('the store gave nothing');
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    if (filled + next.value.length > length) {
      await reader.cancel();
      throw new Error('the store gave more than announced');
    }
    bytes.set(next.value, filled);
    filled += next.value.length;
  }
  if (filled < length) throw new Error('the connection ended early');
  return bytes;
}
