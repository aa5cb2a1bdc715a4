import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Objects, SignedPut } from './objects.ts';

/** An adapter under test, with a plain HTTP client that sends exactly the given headers. */
export interface ObjectsUnderTest {
  readonly objects: Objects;
  send(
    url: string,
    request: { method: string; headers?: Record<string, string>; body?: Uint8Array },
  ): Promise<{
    readonly status: number;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body: Uint8Array;
  }>;
  close(): Promise<void>;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const text = (value: string) => Buffer.from(value);

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** What every adapter of {@link Objects} keeps, through its signed URLs too. Keys begin with a folder of the run's own. */
export function objectsContract(name: string, make: () => Promise<ObjectsUnderTest>): void {
  describe(`${name} keeps the contract of Objects`, () => {
    let under: ObjectsUnderTest;
    let folders = 0;
    const run = randomUUID();
    const folder = () => `contract/${run}/${(folders += 1)}`;
    beforeAll(async () => {
      under = await make();
    });
    afterAll(() => under.close());

    direct(() => under.objects, folder);
    downloads(() => under, folder);
    uploads(() => under, folder);
  });
}

type Folder = () => string;

function direct(objects: () => Objects, folder: Folder): void {
  it('gives back what was put, of any size, and replaces it', async () => {
    const key = `${folder()}/a`;
    for (const bytes of [text('first'), text(''), Buffer.alloc(3_000_001, 'xyz')]) {
      await objects().put(key, bytes);
      expect((await collect(await objects().get(key))).equals(bytes)).toBe(true);
      expect(await objects().head(key)).toMatchObject({ length: bytes.length });
    }
  });

  it('says what is not there', async () => {
    const key = `${folder()}/nothing`;
    expect(await objects().head(key)).toBeUndefined();
    await expect(objects().get(key)).rejects.toMatchObject({ code: 'not_found' });
    await objects().delete(key);
  });

  it('lists the keys that begin so, in order, and no others', async () => {
    const base = folder();
    const keys = ['b', 'a/2', 'a/1', 'a', 'a-b', 'ab/c/d', 'B'];
    for (const key of keys) await objects().put(`${base}/${key}`, text(key));
    const listed = async (prefix: string) =>
      (await objects().list(`${base}/${prefix}`)).map((key) => key.slice(base.length + 1));
    expect(await listed('')).toEqual(['B', 'a', 'a-b', 'a/1', 'a/2', 'ab/c/d', 'b']);
    expect(await listed('a/')).toEqual(['a/1', 'a/2']);
    expect(await listed('a')).toEqual(['a', 'a-b', 'a/1', 'a/2', 'ab/c/d']);
    expect(await listed('ab/c')).toEqual(['ab/c/d']);
    expect(await listed('nothing')).toEqual([]);
  });

  it('forgets what was deleted, and nothing beside it', async () => {
    const base = folder();
    await objects().put(`${base}/a/1`, text('1'));
    await objects().put(`${base}/a`, text('0'));
    await objects().delete(`${base}/a/1`);
    expect(await objects().head(`${base}/a/1`)).toBeUndefined();
    expect(await objects().list(base)).toEqual([`${base}/a`]);
    await objects().put(`${base}/a/1`, text('again'));
    expect(await objects().head(`${base}/a/1`)).toMatchObject({ length: 5 });
  });
}

function downloads(under: () => ObjectsUnderTest, folder: Folder): void {
  const BYTES = text('0123456789');
  const signed = async (options?: { as?: string }) => {
    const key = `${folder()}/a`;
    await under().objects.put(key, BYTES);
    return { key, url: await under().objects.signGet(key, options) };
  };

  it('serves an object under a signed URL', async () => {
    const { url } = await signed();
    const answer = await under().send(url, { method: 'GET' });
    expect(answer.status).toBe(200);
    expect(Buffer.from(answer.body)).toEqual(BYTES);
  });

  it.each([
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-2', '89', 'bytes 8-9/10'],
    ['bytes=5-99', '56789', 'bytes 5-9/10'],
  ])('serves the range %s', async (range, part, contentRange) => {
    const { url } = await signed();
    const answer = await under().send(url, { method: 'GET', headers: { range } });
    expect(answer.status).toBe(206);
    expect(Buffer.from(answer.body).toString()).toBe(part);
    expect(answer.headers['content-range']).toBe(contentRange);
  });

  it('refuses a range behind the end', async () => {
    const { url } = await signed();
    expect((await under().send(url, { method: 'GET', headers: { range: 'bytes=10-' } })).status).toBe(416);
  });

  it('names the download', async () => {
    const { url } = await signed({ as: 'image one.tar.xz' });
    const answer = await under().send(url, { method: 'GET' });
    expect(answer.headers['content-disposition']).toContain('filename="image one.tar.xz"');
  });

  it('refuses an unsigned URL, an altered one and another method', async () => {
    const { key, url } = await signed();
    const other = `${folder()}/b`;
    await under().objects.put(other, BYTES);
    expect((await under().send(url.split('?')[0]!, { method: 'GET' })).status).toBe(403);
    expect((await under().send(url.replace(key, other), { method: 'GET' })).status).toBe(403);
    expect(
      (await under().send(url, { method: 'PUT', headers: { 'content-length': '1' }, body: text('x') })).status,
    ).toBe(403);
    expect((await under().send(url, { method: 'DELETE' })).status).toBe(403);
    expect((await collect(await under().objects.get(key))).equals(BYTES)).toBe(true);
  });

  it('answers 404 for an object that went away', async () => {
    const { key, url } = await signed();
    await under().objects.delete(key);
    expect((await under().send(url, { method: 'GET' })).status).toBe(404);
  });
}

function uploads(under: () => ObjectsUnderTest, folder: Folder): void {
  const BYTES = Buffer.alloc(200_000, 'fairlead');
  const sign = async (once: boolean, bytes: Uint8Array = BYTES) => {
    const key = `${folder()}/up`;
    return { key, put: await under().objects.signPut(key, { length: bytes.length, sha256: sha256(bytes), once }) };
  };
  const upload = (put: SignedPut, body: Uint8Array, change: Record<string, string | undefined> = {}) => {
    const headers = Object.entries({ ...put.headers, ...change }).filter(
      (header): header is [string, string] => header[1] !== undefined,
    );
    return under().send(put.url, { method: 'PUT', headers: Object.fromEntries(headers), body });
  };

  it('takes the promised bytes and knows their length', async () => {
    const { key, put } = await sign(true);
    expect((await upload(put, BYTES)).status).toBe(200);
    expect((await collect(await under().objects.get(key))).equals(BYTES)).toBe(true);
    const head = await under().objects.head(key);
    expect(head?.length).toBe(BYTES.length);
    expect([undefined, sha256(BYTES)]).toContain(head?.sha256);
  });

  it('takes an empty object', async () => {
    const { key, put } = await sign(true, text(''));
    expect((await upload(put, text(''))).status).toBe(200);
    expect(await under().objects.head(key)).toMatchObject({ length: 0 });
  });

  it('creates once: the second upload is answered 412 and changes nothing', async () => {
    const { key, put } = await sign(true);
    expect((await upload(put, BYTES)).status).toBe(200);
    expect((await upload(put, BYTES)).status).toBe(412);
    expect(await under().objects.head(key)).toMatchObject({ length: BYTES.length });
  });

  it('lets exactly one of ten parallel creations win', async () => {
    const { put } = await sign(true);
    const answers = await Promise.all(Array.from({ length: 10 }, () => upload(put, BYTES)));
    const statuses = answers.map((answer) => answer.status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    // S3 answers 409 to a creation that met another one under way.
    expect(statuses.every((status) => [200, 409, 412].includes(status))).toBe(true);
  });

  it('replaces when it may', async () => {
    const { key, put } = await sign(false);
    expect((await upload(put, BYTES)).status).toBe(200);
    expect((await upload(put, BYTES)).status).toBe(200);
    expect(await under().objects.head(key)).toMatchObject({ length: BYTES.length });
  });

  it('answers 400 to other bytes of the same length and keeps nothing of them', async () => {
    const { key, put } = await sign(true);
    const other = Buffer.alloc(BYTES.length, 'headfair');
    expect((await upload(put, other)).status).toBe(400);
    expect(await under().objects.head(key)).toBeUndefined();
    expect((await upload(put, BYTES)).status).toBe(200);
  });

  it('refuses another length, another hash and a condition left out', async () => {
    const { key, put } = await sign(true);
    const longer = Buffer.concat([BYTES, BYTES]);
    const changed = [
      await upload(put, longer, { 'content-length': String(longer.length) }),
      await upload(put, longer, {
        'content-length': String(longer.length),
        'x-amz-checksum-sha256': createHash('sha256').update(longer).digest('base64'),
      }),
      await upload(put, BYTES, { 'x-amz-checksum-sha256': undefined }),
      await upload(put, BYTES, { 'if-none-match': undefined }),
    ];
    expect(changed.map((answer) => answer.status)).toEqual([403, 403, 403, 403]);
    expect(await under().objects.head(key)).toBeUndefined();
  });

  it('refuses the signature of another object', async () => {
    const { key, put } = await sign(true);
    const victim = `${folder()}/victim`;
    expect((await upload({ ...put, url: put.url.replace(key, victim) }, BYTES)).status).toBe(403);
    expect(await under().objects.head(victim)).toBeUndefined();
  });
}
