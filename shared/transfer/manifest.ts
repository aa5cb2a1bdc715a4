import { compactVerify, importJWK, type JWK } from 'jose';
import * as z from 'zod';

import { FairleadError, messageOf } from '../errors.ts';
import { fingerprint, uuid } from '../link/instance.ts';
import type { PublicKey } from '../link/moves.ts';
import { CHUNK_BYTES, MAX_CHUNKS } from './chunks.ts';

/** What makes a transfer: the list of a stream's chunks, signed by the host that sent them. Nothing is used that it does not name. */

export const MANIFEST_TYPE = 'fl-manifest+jwt';

/** `fs1`…: passes over the root filesystem, `memory`: an image of the processes. */
export const streamName = z.string().regex(/^(fs[1-9]|memory)$/);

export const manifest = z
  .object({
    v: z.literal(1),
    move: uuid,
    attempt: z.int().positive(),
    instance: uuid,
    /** The source's epoch. */
    epoch: z.int().positive(),
    stream: streamName,
    chunks: z
      .array(z.object({ seq: z.int().nonnegative(), length: z.int().min(1).max(CHUNK_BYTES), sha256: fingerprint }))
      .max(MAX_CHUNKS),
    /** Bytes of all chunks. */
    total: z.int().nonnegative(),
    /** Of all bytes. */
    sha256: fingerprint,
  })
  .refine(({ chunks }) => chunks.every(({ seq }, index) => seq === index), 'the chunks are not in order')
  .refine(
    ({ chunks, total }) => chunks.reduce((sum, { length }) => sum + length, 0) === total,
    'the lengths do not add up',
  );
export type Manifest = z.infer<typeof manifest>;

/** The name of a manifest's object. */
export function manifestName(stream: string, sha256: string): string {
  return `${stream}-manifest-${sha256}`;
}

/**
 * Reads a manifest that was signed as a compact JWS.
 * @param expected what it must be about
 * @throws FairleadError `forbidden` when the source did not sign this for this move
 */
export async function verifyManifest(
  jws: string,
  key: PublicKey,
  expected: Pick<Manifest, 'move' | 'attempt' | 'instance' | 'epoch'>,
): Promise<Manifest> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, await importJWK(key as JWK, 'EdDSA'), {
      algorithms: ['EdDSA'],
    });
    if (protectedHeader.typ !== MANIFEST_TYPE) throw new Error(`it is signed as ${String(protectedHeader.typ)}`);
    const read = manifest.parse(JSON.parse(new TextDecoder().decode(payload)));
    for (const field of ['move', 'attempt', 'instance', 'epoch'] as const) {
      if (read[field] !== expected[field]) throw new Error(`it is for ${field} ${read[field]}, not ${expected[field]}`);
    }
    return read;
  } catch (cause) {
    throw new FairleadError(
      'forbidden',
      `What arrived was not signed by the source for this move (${messageOf(cause).slice(0, 200)}), so none of it is used. Move the instance again.`,
      { cause },
    );
  }
}
