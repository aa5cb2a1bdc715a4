/**
 * Chunks of a move on their way into this host: fetched as soon as the source announces them, or at the latest when a manifest names them; kept
 * on disk until they are used, and verified when they are.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { chunkName, sha256 } from '#shared/transfer/chunks.ts';
import type { Manifest } from '#shared/transfer/manifest.ts';
import { Lane } from '../commands/lanes.ts';
import type { ObjectTerms, Store } from './store.ts';

/** Chunks fetched at a time, and announced ones that wait; what is announced beyond that comes by the manifest. */
const IN_FLIGHT = 4;
const MAX_ANNOUNCED = 1024;
/** Chunks fetched ahead of the one in use. */
const AHEAD = 6;

/** The chunks of one attempt, in a folder of their own. */
export class Staging {
  readonly #folder: string;
  readonly #store: Pick<Store, 'get'>;
  readonly #lane = new Lane(IN_FLIGHT, Infinity);
  readonly #flights = new Map<string, Promise<void>>();

  constructor(folder: string, store: Pick<Store, 'get'>) {
    this.#folder = folder;
    this.#store = store;
  }

  /** Begins to fetch what the source says is there. What fails is fetched again when it is needed. */
  announced(terms: ObjectTerms): void {
    if (this.#flights.size < MAX_ANNOUNCED) this.#fetched(terms).catch(() => {});
  }

  /** The bytes of a stream, chunk by chunk, each verified. @throws FairleadError `unavailable` */
  async *bytes(manifest: Manifest): AsyncGenerator<Uint8Array> {
    const terms = manifest.chunks.map((chunk) => ({ ...chunk, name: chunkName(manifest.stream, chunk) }));
    for (const [index, chunk] of terms.entries()) {
      for (const next of terms.slice(index + 1, index + 1 + AHEAD)) this.announced(next);
      yield await this.#verified(chunk);
    }
  }

  /** Deletes the chunks of a stream that has been used. */
  async drop(manifest: Manifest): Promise<void> {
    for (const chunk of manifest.chunks) await rm(this.#path(chunkName(manifest.stream, chunk)), { force: true });
  }

  async #verified(terms: ObjectTerms): Promise<Uint8Array> {
    await this.#fetched(terms);
    const kept = await readFile(this.#path(terms.name));
    if (sha256(kept) === terms.sha256) return kept;
    // A crash may have left less than was written.
    await rm(this.#path(terms.name), { force: true });
    return this.#store.get(terms);
  }

  /** Resolves when the chunk is on disk. */
  #fetched(terms: ObjectTerms): Promise<void> {
    const known = this.#flights.get(terms.name);
    if (known) return known;
    const flight = this.#lane.run(() => this.#fetch(terms)).finally(() => this.#flights.delete(terms.name));
    this.#flights.set(terms.name, flight);
    return flight;
  }

  async #fetch(terms: ObjectTerms): Promise<void> {
    const path = this.#path(terms.name);
    if (existsSync(path)) return;
    const bytes = await this.#store.get(terms);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await writeFile(`${path}.part`, bytes, { mode: 0o600 });
    await rename(`${path}.part`, path);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}
