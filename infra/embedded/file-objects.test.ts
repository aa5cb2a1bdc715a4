import { createHash, createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { objectsContract } from '../../functions/ports/objects.contract.ts';
import { SIGNED_URL_MS } from '../../functions/ports/objects.ts';
import { openFileObjects, type FileObjects } from './file-objects.ts';
import { send } from './test-client.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

interface Served {
  readonly root: string;
  readonly objects: FileObjects;
  readonly port: number;
  advance(ms: number): void;
  close(): Promise<void>;
}

async function serve(): Promise<Served> {
  const root = join(mkdtempSync(join(tmpdir(), 'objects-')), 'objects');
  let now = 1_800_000_000_000;
  let objects: FileObjects | undefined;
  const server: Server = createServer((request, response) => void objects?.handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const options = { root, signingKey: createSecretKey(randomBytes(32)), clock: { now: () => now } };
  objects = await openFileObjects({ ...options, publicUrl: `http://127.0.0.1:${port}/` });
  return {
    root,
    objects,
    port,
    advance: (ms) => {
      now += ms;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(join(root, '..'), { recursive: true });
    },
  };
}

objectsContract('A directory of files', async () => {
  const { objects, close } = await serve();
  return { objects, send, close };
});

describe('objects as files', () => {
  let served: Served;
  beforeEach(async () => {
    served = await serve();
  });
  afterEach(() => served.close());
  const bytes = Buffer.from('some bytes');
  const terms = { length: bytes.length, sha256: sha256(bytes), once: true };
  const incoming = () => readdirSync(join(served.root, '.incoming'));

  it('know the hash of what was put in any way', async () => {
    await served.objects.put('a', bytes);
    const { url, headers } = await served.objects.signPut('b', terms);
    await send(url, { method: 'PUT', headers, body: bytes });
    for (const key of ['a', 'b']) expect(await served.objects.head(key)).toEqual({ length: 10, sha256: terms.sha256 });
  });

  it('are readable by their owner only, whatever the umask', async () => {
    const before = process.umask(0);
    await served.objects.put('deep/er/a', bytes);
    process.umask(before);
    for (const folder of ['', 'deep', 'deep/er', '.incoming'])
      expect(statSync(join(served.root, folder)).mode & 0o777).toBe(0o700);
    expect(statSync(join(served.root, 'deep/er/a~')).mode & 0o777).toBe(0o600);
  });

  it.each([
    '',
    '/',
    '/etc/passwd',
    '../x',
    'a/../../x',
    'a//b',
    'a/',
    '.hidden',
    'a/.incoming',
    'a\0',
    'a b',
    'a~',
    'a%2e',
    'x'.repeat(201),
  ])('refuse the key %j', async (key) => {
    await expect(served.objects.put(key, bytes)).rejects.toMatchObject({ code: 'bad_name' });
    await expect(served.objects.signPut(key, terms)).rejects.toMatchObject({ code: 'bad_name' });
    await expect(served.objects.signGet(key)).rejects.toMatchObject({ code: 'bad_name' });
  });

  it.each([{ length: -1 }, { length: 1.5 }, { sha256: 'abc' }, { sha256: 'A'.repeat(64) }])(
    'sign no upload with %j',
    async (wrong) => {
      await expect(served.objects.signPut('a', { ...terms, ...wrong })).rejects.toMatchObject({ code: 'bad_request' });
    },
  );

  it('honour a URL up to its last millisecond and not after', async () => {
    await served.objects.put('a', bytes);
    const url = await served.objects.signGet('a');
    const put = await served.objects.signPut('b', terms);
    served.advance(SIGNED_URL_MS - 1);
    expect((await send(url)).status).toBe(200);
    served.advance(1);
    expect((await send(url)).status).toBe(403);
    expect((await send(put.url, { method: 'PUT', headers: put.headers, body: bytes })).status).toBe(403);
  });

  it('refuse every change to any parameter of a URL', async () => {
    await served.objects.put('a', bytes);
    const url = new URL(await served.objects.signGet('a', { as: 'name' }));
    const variants: URL[] = [];
    for (const name of url.searchParams.keys()) {
      const [without, other, twice] = [new URL(url), new URL(url), new URL(url)];
      without.searchParams.delete(name);
      other.searchParams.set(name, name === 'expires' ? '9999999999999' : 'x');
      twice.searchParams.append(name, url.searchParams.get(name)!);
      variants.push(without, other, twice);
    }
    const added = new URL(url);
    added.searchParams.set('extra', '1');
    variants.push(added);
    for (const variant of variants) expect((await send(variant.href)).status, variant.search).toBe(403);
    expect((await send(url.href)).status).toBe(200);
    expect((await send(url.href, { method: 'HEAD' })).headers['content-length']).toBe('10');
  });

  it('always come as a download that no browser shows', async () => {
    await served.objects.put('a', Buffer.from('<script>'));
    const answer = await send(await served.objects.signGet('a', { as: 'a"\r\nb: ü' }));
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'x-content-type-options': 'nosniff',
    });
    expect(answer.headers['content-disposition']).toBe(
      `attachment; filename="a___b_ _"; filename*=UTF-8''a%22%0D%0Ab%3A%20%C3%BC`,
    );
  });

  it('keep nothing of an upload that breaks off', async () => {
    const put = await served.objects.signPut('a', { ...terms, length: 1000 });
    const socket = connect(served.port, '127.0.0.1');
    const { pathname, search, host } = new URL(put.url);
    const headers = Object.entries(put.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n${headers.join('')}\r\n`);
    socket.write(Buffer.alloc(500));
    await expect.poll(() => incoming().length).toBe(1);
    socket.destroy();
    await expect.poll(() => incoming().length).toBe(0);
    expect(await served.objects.head('a')).toBeUndefined();
  });

  it('take no chunked upload, whose length nobody promised', async () => {
    const put = await served.objects.signPut('a', terms);
    const { 'content-length': _, ...headers } = put.headers;
    const answer = await send(put.url, {
      method: 'PUT',
      headers: { ...headers, 'transfer-encoding': 'chunked' },
      body: bytes,
    });
    expect(answer.status).toBe(403);
  });

  it('answer in LXD’s form while a refused body is still arriving', async () => {
    const url = (await served.objects.signGet('a')).replace('sig=', 'sig=x');
    const answer = await send(url, { method: 'PUT', body: Buffer.alloc(4_000_000) });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      type: 'error',
      error_code: 403,
      error: expect.stringContaining('not signed') as string,
    });
  });

  it('clear away what a crash left half written', async () => {
    writeFileSync(join(served.root, '.incoming', 'left'), 'half');
    await openFileObjects({
      root: served.root,
      publicUrl: 'http://x',
      signingKey: createSecretKey(randomBytes(32)),
      clock: Date,
    });
    expect(incoming()).toEqual([]);
  });

  it('say that a file was cut', async () => {
    await served.objects.put('a', bytes);
    truncateSync(join(served.root, 'a~'), 20);
    await expect(served.objects.get('a')).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('take and give 320 MB without holding them', { timeout: 60_000 }, async () => {
    const part = Buffer.alloc(8_000_000, 'fairlead');
    const parts = 40;
    const hash = createHash('sha256');
    for (let n = 0; n < parts; n += 1) hash.update(part);
    const put = await served.objects.signPut('big', {
      length: parts * part.length,
      sha256: hash.digest('hex'),
      once: true,
    });
    const before = process.memoryUsage().rss;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(part);
        if ((left -= 1) === 0) controller.close();
      },
    });
    let left = parts;
    const uploaded = await fetch(put.url, { method: 'PUT', headers: put.headers, body, duplex: 'half' });
    expect(uploaded.status).toBe(200);
    const response = await fetch(await served.objects.signGet('big'));
    let size = 0;
    for await (const chunk of response.body!) size += (chunk as Uint8Array).length;
    expect(size).toBe(parts * part.length);
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
  });
});
