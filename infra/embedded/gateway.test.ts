import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import type { Functions } from '../../functions/functions.ts';
import type { HttpEvent, HttpResult } from '../../functions/ports/events.ts';
import { systemClock } from './clock.ts';
import { openTestGateway, type TestGateway } from './test-gateway.ts';
import { send, type TestRequest } from './test-client.ts';

const text = (body: string, statusCode = 200): HttpResult => ({
  statusCode,
  headers: { 'content-type': 'text/plain' },
  body,
  isBase64Encoded: false,
});

describe('the gateway, HTTP', () => {
  let gateway: TestGateway | undefined;
  afterEach(() => gateway?.stop());
  const open = async (functions: Partial<Functions>, options: Parameters<typeof openTestGateway>[1] = {}) =>
    (gateway = await openTestGateway(functions, options));
  const ask = (path: string, request: TestRequest = {}) => send(gateway!.url + path, { ca: gateway!.ca, ...request });
  const raw = () =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = tlsConnect({ port: gateway!.port, host: '127.0.0.1', ca: gateway!.ca }, () => resolve(socket));
      socket.on('error', reject);
    });
  const events: HttpEvent[] = [];
  const recording: Partial<Functions> = {
    http: async (event) => {
      events.push(event);
      return text('ok');
    },
  };
  const last = () => events.at(-1)!;

  it('hands over the request as API Gateway would', async () => {
    await open(recording);
    const headers = { 'Content-Type': 'application/json', 'X-Own': 'a', Authorization: 'Bearer x' };
    const answer = await ask('/1.0/instances/a%2Fb?x=1&y=%20', { method: 'POST', headers, body: '{"ü":1}' });
    expect([answer.status, answer.body.toString(), answer.headers['content-length']]).toEqual([200, 'ok', '2']);
    expect(last()).toMatchObject({
      version: '2.0',
      rawPath: '/1.0/instances/a%2Fb',
      rawQueryString: 'x=1&y=%20',
      body: '{"ü":1}',
      isBase64Encoded: false,
      requestContext: { http: { method: 'POST', sourceIp: '127.0.0.1' } },
    });
    expect(last().headers).toMatchObject({
      'content-type': 'application/json',
      'x-own': 'a',
      authorization: 'Bearer x',
    });
    expect(last().headers).not.toHaveProperty('connection');
  });

  it.each([
    ['a form', 'application/x-www-form-urlencoded', 'a=1'],
    ['bytes', 'application/octet-stream', 'a'],
    ['text that is no UTF-8', 'application/json', Buffer.from([0x22, 0xff, 0x22])],
  ])('hands over %s as base64', async (_, type, body) => {
    await open(recording);
    await ask('/', { method: 'POST', headers: { 'content-type': type }, body });
    expect(last()).toMatchObject({ isBase64Encoded: true, body: Buffer.from(body).toString('base64') });
  });

  it('believes no header that only a front of ours may set', async () => {
    await open(recording);
    const forged = [
      'x-amzn-mtls-clientcert',
      'x-forwarded-for',
      'x-forwarded-host',
      'forwarded',
      'cloudfront-viewer-cert-pem',
      'x-real-ip',
    ];
    await ask('/', { headers: Object.fromEntries(forged.map((name) => [name, 'evil'])) });
    expect(JSON.stringify(last())).not.toContain('evil');
  });

  it('gives back bytes, status and headers; nothing for HEAD', async () => {
    const bytes = Buffer.from([0, 255, 1]);
    await open({
      http: async () => ({
        statusCode: 203,
        headers: { etag: '"x"' },
        body: bytes.toString('base64'),
        isBase64Encoded: true,
      }),
    });
    const answer = await ask('/');
    expect([answer.status, answer.headers['etag'], answer.body]).toEqual([203, '"x"', bytes]);
    const head = await ask('/', { method: 'HEAD' });
    expect([head.headers['content-length'], head.body.length]).toEqual(['3', 0]);
  });

  it.each([
    ['with its length', { 'content-length': String(1_048_577) }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('answers 413 in LXD’s form, naming the upload route, to a body of over 1 MiB %s', async (_, headers) => {
    await open(recording);
    const before = events.length;
    const answer = await ask('/1.0/images', { method: 'POST', headers, body: Buffer.alloc(1_048_577) });
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      type: 'error',
      error_code: 413,
      error: expect.stringContaining('/1.0/fleet/uploads') as string,
    });
    expect(events.length).toBe(before);
    const fits = await ask('/', { method: 'POST', body: Buffer.alloc(1_048_576) });
    expect(fits.status).toBe(200);
  });

  it('answers 504 when the function takes too long', async () => {
    const clock = systemClock(1000);
    await open({ http: () => clock.sleep(60_000).then(() => text('late')) }, { clock });
    const answer = await ask('/');
    expect([answer.status, JSON.parse(answer.body.toString())]).toMatchObject([
      504,
      { type: 'error', error_code: 504 },
    ]);
  });

  it('answers 500 to a bug, without its words, which the log has', async () => {
    await open({ http: () => Promise.reject(new Error('inner words')) });
    const answer = await ask('/');
    expect(answer.status).toBe(500);
    expect(answer.body.toString()).not.toContain('inner');
    expect(gateway!.lines.join('')).toContain('inner words');
  });

  it('answers with the status of a FairleadError', async () => {
    await open({ http: () => Promise.reject(new FairleadError('busy', 'later')) });
    expect((await ask('/')).status).toBe(409);
  });

  it('throttles on a token bucket', async () => {
    await open(recording, { rules: { requestsPerSecond: 0.001, requestBurst: 2 } });
    const statuses = [await ask('/'), await ask('/'), await ask('/')].map((answer) => answer.status);
    expect(statuses).toEqual([200, 200, 429]);
  });

  it('runs no more at once than it may', async () => {
    let now = 0;
    let most = 0;
    const http = async () => {
      most = Math.max(most, (now += 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
      now -= 1;
      return text('ok');
    };
    await open({ http }, { rules: { maxConcurrency: 3 } });
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask('/')));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 12 }, () => 200));
    expect(most).toBe(3);
  });

  it('refuses 65 headers and a header of 11 KB', async () => {
    await open(recording);
    const many = Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`x-${n}`, '1']));
    expect([400, 431]).toContain((await ask('/', { headers: many })).status);
    expect((await ask('/', { headers: { 'x-long': 'x'.repeat(11_000) } })).status).toBe(431);
  });

  it('is still there for others while 200 sockets send their headers slowly, and cuts those', async () => {
    await open(recording, { rules: { headersTimeoutMs: 1000 } });
    const slow = await Promise.all(Array.from({ length: 200 }, raw));
    let cut = 0;
    for (const socket of slow) {
      socket
        .on('error', () => undefined)
        .on('close', () => (cut += 1))
        .resume();
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    }
    const start = performance.now();
    expect((await ask('/')).status).toBe(200);
    expect(performance.now() - start).toBeLessThan(1000);
    await expect.poll(() => cut, { timeout: 5000 }).toBe(200);
  });

  it('waits for a slow body only so long', async () => {
    await open(recording, { rules: { bodyTimeoutMs: 200 } });
    const socket = await raw();
    const answer = new Promise<string>((resolve) => socket.once('data', (data: Buffer) => resolve(data.toString())));
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc');
    expect(await answer).toMatch(/^HTTP\/1.1 504 /);
    socket.destroy();
  });

  it('bounds the connections of one address', async () => {
    await open(recording, { rules: { maxConnectionsPerAddress: 2 } });
    const first = await raw();
    const second = await raw();
    await expect(raw()).rejects.toThrow();
    first.destroy();
    await expect
      .poll(() =>
        ask('/').then(
          (answer) => answer.status,
          () => 0,
        ),
      )
      .toBe(200);
    second.destroy();
  });

  it('routes objects past the functions, with bodies of any size and time', async () => {
    const objects = async (request: IncomingMessage, response: ServerResponse) => {
      let size = 0;
      for await (const chunk of request) size += (chunk as Buffer).length;
      response.end(String(size));
    };
    await open({}, { objects, rules: { bodyTimeoutMs: 50 } });
    const socket = await raw();
    const answer = new Promise<string>((resolve) => socket.once('data', (data: Buffer) => resolve(data.toString())));
    socket.write('PUT /objects/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n');
    for (let part = 0; part < 4; part += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.write(Buffer.alloc(500_000));
    }
    expect(await answer).toContain('2000000');
    socket.destroy();
  });

  it('lets what runs finish when it stops', async () => {
    await open({
      http: async () => {
        await new Promise((resolve) => setTimeout(resolve, 200));
        return text('done');
      },
    });
    const answer = ask('/');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await gateway!.stop();
    expect((await answer).body.toString()).toBe('done');
    await expect(ask('/')).rejects.toThrow();
  });
});
