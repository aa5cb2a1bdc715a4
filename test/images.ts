import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { GOOD_START } from '#shared/image/hostile.fixture.ts';
import { tarball } from '#shared/image/tar.fixture.ts';
import type { ApiAnswer, World } from './world.ts';
import { partKey } from '../functions/domain/keys.ts';

/** A small unified image that is in order; `salt` makes another fingerprint. */
export function goodImage(salt = ''): Uint8Array {
  return gzipSync(tarball([...GOOD_START, { name: 'rootfs/salt', data: salt }]));
}

/** SHA-256, hex. */
export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export interface Announced {
  readonly id: string;
  readonly parts: readonly { readonly index: number; readonly url: string }[];
}

/** Announces an upload in parts of so many bytes, and puts them where the signed URLs lead; `spoil` changes what is put. */
export async function upload(
  world: World,
  bytes: Uint8Array,
  options: {
    readonly part?: number;
    readonly announced?: string;
    readonly spoil?: (index: number, part: Uint8Array) => Uint8Array | undefined;
  } = {},
): Promise<Announced> {
  const { part = 1 << 20, announced = hashOf(bytes), spoil = (_, piece) => piece } = options;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += part) pieces.push(bytes.subarray(at, at + part));
  const parts = pieces.map((piece) => ({ length: piece.length, sha256: hashOf(piece) }));
  const answer = await world.api('POST', '/1.0/fleet/uploads', { size: bytes.length, sha256: announced, parts });
  if (answer.status !== 201) throw new Error(answer.error);
  const made: Announced = answer.metadata;
  for (const [index, piece] of pieces.entries()) {
    const sent = spoil(index, piece);
    if (sent !== undefined) await world.ports.objects.put(partKey(made.id, index, hashOf(piece)), sent);
  }
  return made;
}

/** Says that everything was uploaded. */
export function finish(world: World, { id }: Announced, more: object = {}): Promise<ApiAnswer> {
  return world.api('POST', '/1.0/images', {
    source: { type: 'upload', upload: id },
    filename: 'image.tar.gz',
    ...more,
  });
}

/** Uploads an image and waits until it is checked; its operation. */
export async function importImage(
  world: World,
  bytes: Uint8Array,
  more: object = {},
  options: Parameters<typeof upload>[2] = {},
): Promise<{ id: string; status: string; err: string; metadata: object }> {
  const answer = await finish(world, await upload(world, bytes, options), more);
  if (answer.status !== 202) throw new Error(answer.error);
  await world.runJobs();
  return (await world.api('GET', `/1.0/operations/${(answer.metadata as { id: string }).id}`)).metadata;
}
