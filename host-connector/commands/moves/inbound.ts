import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

import type { InstanceSpec } from '#shared/link/commands.ts';
import type { ManifestRef, PublicKey } from '#shared/link/moves.ts';
import { verifyManifest, type Manifest } from '#shared/transfer/manifest.ts';
import { isMissing, readIfThere, removeDurably, writeDurably } from '../../durable.ts';
import { applyDifference } from '../../transfer/difference.ts';
import { unpackMemory } from '../../transfer/memory.ts';
import { Staging } from '../../transfer/staging.ts';
import { Store, type ObjectTerms } from '../../transfer/store.ts';
import type { Context } from '../executor.ts';
import type { MoveParts } from './parts.ts';
import { transferProgress } from './progress.ts';

/** Manifests that are in the tree already, by their hash. */
const appliedFile = z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(64);

/** What arrives of one attempt of a move. It fetches what is announced until it is closed. */
export class Inbound {
  readonly #parts: MoveParts;
  readonly #move: string;
  readonly #attempt: number;
  readonly #stop = new AbortController();
  readonly #store: Store;
  readonly #staging: Staging;

  constructor(parts: MoveParts, move: string, attempt: number, context: Pick<Context, 'urls'>) {
    this.#parts = parts;
    this.#move = move;
    this.#attempt = attempt;
    this.#store = new Store(context.urls(move, attempt, this.#stop.signal), parts.world, this.#stop.signal);
    this.#staging = new Staging(join(parts.folder(move), `chunks-${attempt}`), this.#store);
  }

  /** The source says that a chunk is there. */
  announced(terms: ObjectTerms): void {
    this.#staging.announced(terms);
  }

  /** Ends everything under way. */
  close(): void {
    this.#stop.abort();
  }

  /** Verifies manifests and applies what they name and is not applied yet, in order. Returns bytes. @throws FairleadError */
  async apply(spec: InstanceSpec, refs: readonly ManifestRef[], key: PublicKey, context: Context): Promise<number> {
    let bytes = 0;
    for (const ref of refs) {
      if ((await this.#applied()).includes(ref.sha256)) continue;
      const about = { move: this.#move, attempt: this.#attempt, instance: spec.id, epoch: spec.epoch - 1 };
      const manifest = await verifyManifest(new TextDecoder().decode(await this.#store.get(ref)), key, about);
      await this.#use(spec, manifest, context);
      await this.#note(ref.sha256);
      await this.#staging.drop(manifest);
      bytes += manifest.total;
    }
    return bytes;
  }

  async #use(spec: InstanceSpec, manifest: Manifest, context: Context): Promise<void> {
    const { checkpoints, folder, tree, spawn } = this.#parts;
    const stream = this.#stream(manifest, context);
    if (manifest.stream === 'memory') {
      await checkpoints.clear(spec.id);
      return unpackMemory(checkpoints.images(spec.id), stream);
    }
    const namesFile = join(folder(this.#move), 'names');
    const before = await earlierNames(namesFile);
    const target = await tree(spec, join(folder(this.#move), 'scratch'));
    await writeFile(namesFile, await applyDifference(spawn, target, stream, before), { mode: 0o600 });
  }

  async *#stream(manifest: Manifest, { signal, ...context }: Context): AsyncGenerator<Uint8Array> {
    const what = manifest.stream === 'memory' ? 'memory' : 'files';
    const show = transferProgress(`Receiving ${what}`, context, this.#parts.now);
    let bytes = 0;
    for await (const chunk of this.#staging.bytes(manifest)) {
      signal.throwIfAborted();
      yield chunk;
      show((bytes += chunk.length));
    }
  }

  async #applied(): Promise<string[]> {
    const text = await readIfThere(this.#appliedPath);
    return text === undefined ? [] : appliedFile.parse(JSON.parse(text));
  }

  async #note(hash: string): Promise<void> {
    await writeDurably(this.#appliedPath, JSON.stringify([...(await this.#applied()), hash]));
  }

  get #appliedPath(): string {
    return join(this.#parts.folder(this.#move), 'applied.json');
  }
}

/** Makes the folder of a move, empty. */
export async function freshFolder(path: string): Promise<void> {
  await removeDurably(path);
  await mkdir(path, { recursive: true, mode: 0o700 });
}

/** The names that earlier passes brought, as bytes, for they need not be text; undefined before the first. */
async function earlierNames(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
