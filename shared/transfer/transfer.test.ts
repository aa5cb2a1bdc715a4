import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { describe, expect, it } from 'vitest';

import type { PublicKey } from '../link/moves.ts';
import { objectName } from '../link/moves.ts';
import { chunkName, cut, sha256, type FullChunk } from './chunks.ts';
import { manifestName, MANIFEST_TYPE, verifyManifest } from './manifest.ts';

async function* from(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield* pieces;
}

describe('a stream cut into chunks', () => {
  it('is the same stream, in chunks of one size but for the last, however it came', async () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1, max: 17 }), async (given, size) => {
        const chunks: FullChunk[] = [];
        for await (const chunk of cut(from(given), size)) chunks.push(chunk);
        expect(Buffer.concat(chunks.map(({ bytes }) => bytes))).toEqual(Buffer.concat(given));
        expect(chunks.map(({ seq }) => seq)).toEqual(chunks.map((_, index) => index));
        expect(chunks.slice(0, -1).every(({ length }) => length === size)).toBe(true);
        expect(chunks.every(({ length }) => length > 0)).toBe(true);
        for (const { bytes, length, sha256 } of chunks) {
          expect(length).toBe(bytes.length);
          expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
        }
      }),
    );
  });

  it('has names that the store takes', () => {
    const hash = 'ab'.repeat(32);
    expect(objectName.parse(chunkName('fs1', { seq: 7, sha256: hash }))).toBe(`fs1-000007-${hash}`);
    expect(objectName.safeParse(manifestName('memory', hash)).success).toBe(true);
  });
});

describe('a manifest', async () => {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  const key = (await exportJWK(publicKey)) as PublicKey;
  const move = '0a1b2c3d-0000-4000-8000-000000000001';
  const instance = '0a1b2c3d-0000-4000-8000-000000000002';
  const expected = { move, attempt: 1, instance, epoch: 3 };
  const chunks = [
    { seq: 0, length: 4, sha256: 'a'.repeat(64) },
    { seq: 1, length: 2, sha256: 'b'.repeat(64) },
  ];
  const good = { v: 1, ...expected, stream: 'fs1', chunks, total: 6, sha256: sha256(new Uint8Array()) };
  const signed = (payload: object, typ = MANIFEST_TYPE, by = privateKey, alg = 'EdDSA'): Promise<string> =>
    new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ alg, typ }).sign(by);

  it('is read when the source signed it for this move', async () => {
    expect(await verifyManifest(await signed(good), key, expected)).toEqual(good);
  });

  it('is refused when it is for anything else, from anybody else, or does not add up', async () => {
    const other = await generateKeyPair('EdDSA');
    const wrong = [
      signed({ ...good, move: instance }),
      signed({ ...good, attempt: 2 }),
      signed({ ...good, epoch: 4 }),
      signed({ ...good, instance: move }),
      signed({ ...good, total: 7 }),
      signed({ ...good, chunks: chunks.toReversed() }),
      signed({ ...good, stream: '../etc' }),
      signed(good, 'fl-host+jwt'),
      signed(good, MANIFEST_TYPE, other.privateKey),
      Promise.resolve('not.a.manifest'),
    ];
    for (const jws of wrong) {
      await expect(verifyManifest(await jws, key, expected)).rejects.toMatchObject({ code: 'forbidden' });
    }
  });

  it('is refused when one byte of it was changed', async () => {
    const jws = await signed(good);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: jws.length - 2 }), async (at) => {
        const changed = jws.slice(0, at) + (jws[at] === 'A' ? 'B' : 'A') + jws.slice(at + 1);
        // The last digit of base64url has bits that count for nothing.
        fc.pre(changed !== jws);
        await expect(verifyManifest(changed, key, expected)).rejects.toMatchObject({ code: 'forbidden' });
      }),
      { numRuns: 60 },
    );
  });
});
