/** Sends a stream: cut, put while it is still being made, signed at the end. */
import { createHash } from 'node:crypto';

import { FairleadError } from '#shared/errors.ts';
import type { ManifestRef } from '#shared/link/moves.ts';
import { chunkName, cut, MAX_CHUNKS, sha256, type Chunk } from '#shared/transfer/chunks.ts';
import { manifestName, MANIFEST_TYPE, type Manifest } from '#shared/transfer/manifest.ts';
import type { ObjectTerms, Store } from './store.ts';

/** Chunks on their way at a time: what of a stream is in memory. */
const IN_FLIGHT = 4;

/** What a stream belongs to. */
export type StreamOf = Pick<Manifest, 'move' | 'attempt' | 'instance' | 'epoch' | 'stream'>;

export interface SendParts {
  readonly store: Pick<Store, 'put'>;
  /** Signs as this host; see identity/key.ts. */
  readonly sign: (typ: string, payload: Readonly<Record<string, unknown>>) => Promise<string>;
  /** A chunk is there: the other end may fetch it. */
  readonly announce: (chunk: ObjectTerms) => void;
  /** Bytes that are there. */
  readonly progress: (bytes: number) => void;
}

/** Sends a whole stream. Returns where its manifest lies, and the stream's bytes. @throws FairleadError */
export async function sendStream(
  parts: SendParts,
  of: StreamOf,
  source: AsyncIterable<Uint8Array>,
): Promise<{ manifest: ManifestRef; bytes: number }> {
  const chunks: Chunk[] = [];
  const whole = createHash('sha256');
  const flying = new Set<Promise<void>>();
  let sent = 0;
  for await (const { bytes, ...chunk } of cut(source)) {
    if (chunks.length === MAX_CHUNKS) throw tooLarge();
    chunks.push(chunk);
    whole.update(bytes);
    if (flying.size >= IN_FLIGHT) await Promise.race(flying);
    const flight = parts.store.put(chunkName(of.stream, chunk), bytes, chunk.sha256).then((terms) => {
      parts.announce(terms);
      parts.progress((sent += chunk.length));
    });
    const landed = flight.finally(() => flying.delete(landed));
    // Seen by the race or the wait at the end; until then it must not count as unhandled.
    landed.catch(() => {});
    flying.add(landed);
  }
  await Promise.all(flying);
  const total = chunks.reduce((sum, { length }) => sum + length, 0);
  const signed = await parts.sign(MANIFEST_TYPE, { v: 1, ...of, chunks, total, sha256: whole.digest('hex') });
  const text = new TextEncoder().encode(signed);
  const manifest = await parts.store.put(manifestName(of.stream, sha256(text)), text);
  return { manifest, bytes: total };
}

function tooLarge(): FairleadError {
  return new FairleadError(
    'bad_request',
    'The instance is larger than 64 GiB, which cannot be moved yet. Make it smaller.',
  );
}
