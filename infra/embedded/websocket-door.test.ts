import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';

import { FairleadError } from '#shared/errors.ts';
import type { Functions } from '../../functions/functions.ts';
import type { MessageEvent } from '../../functions/ports/events.ts';
import { systemClock } from './clock.ts';
import { dialGateway, openTestClient, openTestGateway, recording, type TestGateway } from './test-gateway.ts';

const LINK = '/1.0/fleet/link';
const MINUTE = 60_000;

let gateway: TestGateway | undefined;
afterEach(() => gateway?.stop());

const open = async (functions: Partial<Functions>, options: Parameters<typeof openTestGateway>[1] = {}) =>
  (gateway = await openTestGateway(functions, options));
const dial = (path = LINK, options: ClientOptions = {}, protocols: string[] = []) =>
  dialGateway(gateway!, path, options, protocols);
const client = (path = LINK, options: ClientOptions = {}) => openTestClient(gateway!, path, options);

/** Status and body of a handshake that must be refused. */
async function refusal(
  path = LINK,
  options: ClientOptions = {},
): Promise<{ status: number; body: { error_code: number; error: string } }> {
  const socket = dial(path, options);
  socket.on('error', () => undefined);
  const response = await new Promise<IncomingMessage>((resolve) =>
    socket.once('unexpected-response', (_, response) => resolve(response)),
  );
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    body: JSON.parse(Buffer.concat(chunks).toString()) as { error_code: number; error: string },
  };
}

describe('a websocket opens', () => {
  it('with what the authorizer and connect are told: path, parameters, headers, a new id', async () => {
    const { calls, functions } = recording();
    await open(functions);
    await client(`${LINK}?a=1&path=/forged`, { headers: { Authorization: 'Bearer x', 'X-Forwarded-For': 'evil' } });
    await client('/1.0/events?type=lifecycle');
    const [first, second] = calls.authorized;
    expect(first?.queryStringParameters).toEqual({ a: '1', path: LINK });
    expect(first?.headers).toMatchObject({ authorization: 'Bearer x' });
    expect(JSON.stringify(first)).not.toContain('evil');
    expect(first?.requestContext.sourceIp).toBe('127.0.0.1');
    expect(second?.queryStringParameters).toEqual({ type: 'lifecycle', path: '/1.0/events' });
    const ids = calls.authorized.map((event) => event.requestContext.connectionId);
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9+/]{15}=$/);
    expect(calls.connected).toEqual(ids);
  });

  it('only when the authorizer allows it: 401 without credentials, 403 with', async () => {
    await open({ authorize: async () => ({ allow: false, context: {} }) });
    expect((await refusal()).status).toBe(401);
    const { status, body } = await refusal(LINK, { headers: { Authorization: 'Bearer x' } });
    expect([status, body]).toMatchObject([403, { type: 'error', error_code: 403 }]);
  });

  it('only when connect agrees, and says nothing of a bug', async () => {
    const connect = [
      () => Promise.reject(new FairleadError('forbidden', 'revoked')),
      () => Promise.reject(new Error('inner words')),
    ];
    const { calls, functions } = recording();
    await open({ ...functions, connect: () => connect.shift()!() });
    expect((await refusal()).body.error).toBe('revoked');
    const { status, body } = await refusal();
    expect(status).toBe(500);
    expect(body.error).not.toContain('inner');
    expect(calls.gone).toEqual([]);
  });

  it('at no other path', async () => {
    await open({});
    expect((await refusal('/1.0/instances')).status).toBe(404);
  });

  it('without compression, and without a subprotocol that nobody echoes', async () => {
    await open({});
    const { socket } = await client();
    expect(socket.extensions).toBe('');
    const asking = dial(LINK, {}, ['own']);
    const [error] = (await once(asking, 'error')) as [Error];
    expect(error.message).toContain('subprotocol');
  });

  it('for a second’s worth of clients at most', async () => {
    await open({}, { rules: { connectsPerSecond: 0.5 } });
    expect((await refusal()).status).toBe(429);
  });

  it('within 29 seconds', async () => {
    const clock = systemClock(1000);
    await open({ connect: () => clock.sleep(40_000) }, { clock });
    expect((await refusal()).status).toBe(504);
  });

  it('or is disconnected when its client went away meanwhile', async () => {
    const { calls, functions } = recording();
    await open({ ...functions, connect: () => new Promise((resolve) => setTimeout(resolve, 100)) });
    const socket = dial();
    socket.on('error', () => undefined);
    await expect.poll(() => calls.authorized.length).toBe(1);
    socket.terminate();
    await expect.poll(() => calls.gone.length).toBe(1);
  });
});

describe('a message', () => {
  it('is an invocation with the authorizer’s context, whose values are strings', async () => {
    const { calls, functions } = recording();
    const context = { n: 1, yes: true, text: 'a' } as unknown as Record<string, string>;
    await open({ ...functions, authorize: async () => ({ allow: true, context }) });
    (await client()).socket.send('{"t":"x"}');
    await expect.poll(() => calls.messages.length).toBe(1);
    const [{ body, requestContext } = { body: '', requestContext: undefined }] = calls.messages;
    expect(body).toBe('{"t":"x"}');
    expect(requestContext?.authorizer).toEqual({ n: '1', yes: 'true', text: 'a' });
    expect(requestContext?.connectionId).toBe(calls.connected[0]);
  });

  it('does not wait for the one before', async () => {
    const order: string[] = [];
    const message = async ({ body }: MessageEvent) => {
      if (body === 'first') await new Promise((resolve) => setTimeout(resolve, 100));
      order.push(body);
    };
    await open({ message });
    const { socket } = await client();
    for (const text of ['first', 'second', 'third']) socket.send(text);
    await expect.poll(() => order).toEqual(['second', 'third', 'first']);
  });

  it('that is a heartbeat is answered without any function', async () => {
    const { calls, functions } = recording();
    await open(functions);
    const { socket, received } = await client();
    socket.send(' {"t": "hb", "n": 1}');
    await expect.poll(() => received).toEqual(['{"t":"hb"}']);
    socket.send('{"t":"data","b":"\\"hb\\""}');
    await expect.poll(() => calls.messages.length).toBe(1);
  });

  it('that fails is logged and reported, and the connection stays', async () => {
    let count = 0;
    const message = async () => {
      count += 1;
      if (count === 1) throw new Error('inner words');
    };
    await open({ message });
    const { socket, received } = await client();
    socket.send('a');
    await expect.poll(() => received.length).toBe(1);
    expect(JSON.parse(received[0]!)).toEqual({
      message: 'Internal server error',
      connectionId: expect.any(String) as string,
      requestId: expect.any(String) as string,
    });
    expect(gateway!.lines.join('')).toContain('inner words');
    socket.send('b');
    await expect.poll(() => count).toBe(2);
  });

  it('that takes longer than 29 seconds is reported as such', async () => {
    const clock = systemClock(1000);
    await open({ message: () => clock.sleep(40_000) }, { clock });
    const { socket, received } = await client();
    socket.send('a');
    await expect.poll(() => received.join('')).toContain('"message":"Endpoint request timed out"');
  });

  it('over the rate is reported and dropped', async () => {
    const { calls, functions } = recording();
    await open(functions, { rules: { requestsPerSecond: 0.001, requestBurst: 2 } });
    const { socket, received } = await client();
    for (const text of ['a', 'b', 'c']) socket.send(text);
    await expect.poll(() => received.join('')).toContain('Too Many Requests');
    expect(calls.messages.map((event) => event.body)).toEqual(['a', 'b']);
  });

  it('waits in the socket while very many are worked on, and none is lost', async () => {
    let running = 0;
    let most = 0;
    let done = 0;
    const message = async () => {
      most = Math.max(most, (running += 1));
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      done += 1;
    };
    await open({ message });
    const { socket } = await client();
    // Longer than what one read of the socket brings, so that pausing has an effect.
    for (let n = 0; n < 600; n += 1) socket.send('x'.repeat(20_000));
    await expect.poll(() => done, { timeout: 10_000 }).toBe(600);
    expect(most).toBeLessThan(160);
  });
});

describe('a connection is closed', () => {
  const closeCode = async (send: (socket: WebSocket) => void, rules = {}) => {
    const { calls, functions } = recording();
    await open(functions, { rules });
    const { socket, closed } = await client();
    send(socket);
    const code = await closed;
    await expect.poll(() => calls.gone).toEqual(calls.connected);
    return { code, messages: calls.messages.length };
  };

  it('with 1003 for a binary message', async () => {
    expect(await closeCode((socket) => socket.send(Buffer.from('a')))).toEqual({ code: 1003, messages: 0 });
  });

  it('with 1009 for a frame over 32,000 bytes, not for one that just fits', async () => {
    expect(await closeCode((socket) => socket.send('x'.repeat(32_001)))).toEqual({ code: 1009, messages: 0 });
    await gateway!.stop();
    const fits = (socket: WebSocket) => socket.send('x'.repeat(32_000), () => socket.close(4000));
    expect(await closeCode(fits)).toEqual({ code: 4000, messages: 1 });
  });

  it('with 1009 for a message over 128,000 bytes in small frames, not for one of 120,000', async () => {
    const inParts = (socket: WebSocket, parts: number) => {
      for (let n = 1; n <= parts; n += 1) socket.send('x'.repeat(30_000), { fin: n === parts });
    };
    expect(await closeCode((socket) => inParts(socket, 5))).toEqual({ code: 1009, messages: 0 });
    await gateway!.stop();
    const fits = (socket: WebSocket) => {
      inParts(socket, 4);
      setTimeout(() => socket.close(4000), 100);
    };
    expect(await closeCode(fits)).toEqual({ code: 4000, messages: 1 });
  });

  it('with 1008 for a message in more than 64 fragments', async () => {
    const pieces = (socket: WebSocket) => {
      for (let n = 1; n <= 65; n += 1) socket.send('x', { fin: n === 65 });
    };
    expect((await closeCode(pieces)).code).toBe(1008);
  });

  it('with 1001 after ten idle minutes, which a heartbeat puts off', async () => {
    const clock = systemClock(1000);
    await open({}, { clock });
    const [idle, alive] = [await client(), await client()];
    const start = clock.now();
    const beat = setInterval(() => alive.socket.send('{"t":"hb"}'), 200);
    expect(await idle.closed).toBe(1001);
    expect(clock.now() - start).toBeGreaterThanOrEqual(9.9 * MINUTE);
    await clock.sleep(15 * MINUTE);
    expect(alive.socket.readyState).toBe(WebSocket.OPEN);
    clearInterval(beat);
    expect(await alive.closed).toBe(1001);
  });

  it('with 1001 after two hours, however lively', async () => {
    const clock = systemClock(20_000);
    await open({}, { clock });
    const { socket, closed } = await client();
    const start = clock.now();
    const beat = setInterval(() => socket.send('{"t":"hb"}'), 10);
    expect(await closed).toBe(1001);
    clearInterval(beat);
    expect(clock.now() - start).toBeGreaterThanOrEqual(119 * MINUTE);
  });

  it('with 1001 when the gateway stops', async () => {
    const { calls, functions } = recording();
    await open(functions);
    const { closed } = await client();
    await gateway!.stop();
    expect(await closed).toBe(1001);
    expect(calls.gone).toHaveLength(1);
  });

  it('by none of these when the rules are lifted', async () => {
    const { calls, functions } = recording();
    const rules = {
      textOnly: false,
      maxFrameBytes: Infinity,
      maxMessageBytes: Infinity,
      maxFragments: Infinity,
      idleMs: Infinity,
      maxAgeMs: Infinity,
    };
    const clock = systemClock(100_000);
    await open(functions, { rules: { ...rules, integrationTimeoutMs: Infinity }, clock });
    const { socket } = await client();
    socket.send(Buffer.from('binary'));
    socket.send('x'.repeat(1_000_000));
    await clock.sleep(180 * MINUTE);
    await expect.poll(() => calls.messages.length).toBe(2);
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });
});
