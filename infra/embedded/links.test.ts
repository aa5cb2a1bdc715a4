import { afterEach, describe, expect, it } from 'vitest';

import type { Functions } from '../../functions/functions.ts';
import type { MessageEvent } from '../../functions/ports/events.ts';
import { frameMeter } from './frame-meter.ts';
import { openTestClient, openTestGateway, recording, type TestGateway } from './test-gateway.ts';

const LINK = '/1.0/fleet/link';

let gateway: TestGateway | undefined;
afterEach(() => gateway?.stop());

const open = async (functions: Partial<Functions>, options: Parameters<typeof openTestGateway>[1] = {}) =>
  (gateway = await openTestGateway(functions, options));
const client = () => openTestClient(gateway!, LINK);

describe('posting to a connection', () => {
  const opened = async (options: Parameters<typeof openTestGateway>[1] = {}) => {
    const { calls, functions } = recording();
    await open(functions, options);
    const one = await client();
    return { ...one, id: calls.connected[0]!, links: gateway!.links };
  };

  it('sends a frame, or text as it is', async () => {
    const { id, links, received } = await opened();
    expect(await links.post(id, { t: 'got', n: 1 })).toBe('sent');
    expect(await links.postText(id, 'ü')).toBe('sent');
    await expect.poll(() => received).toEqual(['{"t":"got","n":1}', 'ü']);
  });

  it('finds it gone when it was never there, has closed, or was closed', async () => {
    const { id, links, closed } = await opened();
    expect(await links.postText('nobody', 'a')).toBe('gone');
    await links.close(id);
    expect(await links.postText(id, 'a')).toBe('gone');
    expect(await closed).toBe(1000);
    await links.close(id);
  });

  it('finds it gone until connect has ended', async () => {
    const outcomes: string[] = [];
    const connect: Functions['connect'] = async ({ requestContext }) => {
      outcomes.push(await gateway!.links.postText(requestContext.connectionId, 'too early'));
    };
    const message: Functions['message'] = async ({ requestContext }) => {
      outcomes.push(await gateway!.links.postText(requestContext.connectionId, 'welcome'));
    };
    await open({ connect, message });
    const { socket, received } = await client();
    socket.send('hello');
    await expect.poll(() => received).toEqual(['welcome']);
    expect(outcomes).toEqual(['gone', 'sent']);
  });

  it('refuses what is too large, and splits what is long into frames that are not', async () => {
    const { id, links, received, socket } = await opened();
    await expect(links.postText(id, 'x'.repeat(128_001))).rejects.toMatchObject({ code: 'protocol' });
    const frames: number[] = [];
    const { _socket: stream } = socket as unknown as { _socket: NodeJS.ReadableStream };
    const within = frameMeter(32_000);
    stream.prependListener('data', (chunk: Buffer) => void (within(chunk) || frames.push(chunk.length)));
    const long = 'é'.repeat(60_000);
    expect(await links.postText(id, long)).toBe('sent');
    await expect.poll(() => received[0]?.length).toBe(60_000);
    expect(received[0]).toBe(long);
    expect(frames).toEqual([]);
  });

  it('is refused while the client does not read, with bounded memory, and works again when it does', async () => {
    const { id, links, received, socket } = await opened();
    socket.pause();
    let sent = 0;
    const text = 'x'.repeat(100_000);
    const outcome = (async () => {
      for (;;) {
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            await links.postText(id, text);
            sent += 1;
          }),
        );
      }
    })();
    await expect(outcome).rejects.toMatchObject({ code: 'unavailable' });
    socket.resume();
    await expect.poll(() => received.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(sent);
    expect(await links.postText(id, 'again')).toBe('sent');
  });

  it('is throttled together with everything else', async () => {
    const { id, links } = await opened({ rules: { requestsPerSecond: 0.001, requestBurst: 1 } });
    expect(await links.postText(id, 'a')).toBe('sent');
    await expect(links.postText(id, 'b')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('chaos', () => {
  const COUNT = 400;
  const run = async (seed: number) => {
    const bodies: string[] = [];
    const message = async ({ body }: MessageEvent) => void bodies.push(body);
    await open({ message }, { chaos: { seed, reorder: 0.5, duplicate: 0.1, drop: 0.1, delayMs: 30 } });
    const { socket } = await client();
    for (let n = 0; n < COUNT; n += 1) socket.send(String(n));
    await new Promise((resolve) => setTimeout(resolve, 300));
    socket.terminate();
    await gateway!.stop();
    return bodies;
  };

  it('drops, duplicates and reorders as the seed says', async () => {
    const [first, second, other] = [await run(1), await run(1), await run(2)];
    const distinct = new Set(first);
    expect(distinct.size).toBeLessThan(COUNT);
    expect(distinct.size).toBeGreaterThan(COUNT * 0.8);
    expect(first.length).toBeGreaterThan(distinct.size);
    expect(first).not.toEqual([...first].sort((a, b) => Number(a) - Number(b)));
    expect([...second].sort()).toEqual([...first].sort());
    expect([...other].sort()).not.toEqual([...first].sort());
  });

  it('throttles, begins late and forgets to tell of an end, each in its share', async () => {
    const none = { seed: 1, throttle: 1 };
    const { calls, functions } = recording();
    await open(functions, { chaos: none });
    const throttled = await client();
    throttled.socket.send('x');
    await expect.poll(() => throttled.received.join()).toContain('Too Many Requests');
    expect(calls.messages).toEqual([]);
    await expect(gateway!.links.postText(calls.connected[0]!, 'x')).rejects.toMatchObject({ code: 'unavailable' });
    await gateway!.stop();

    const late = recording();
    await open(late.functions, { chaos: { seed: 1, coldStart: 1, coldStartMs: 400, lostDisconnects: 1 } });
    const slow = await client();
    const sent = performance.now();
    slow.socket.send('x');
    await expect.poll(() => late.calls.messages.length).toBe(1);
    expect(performance.now() - sent).toBeGreaterThan(20);
    slow.socket.terminate();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(late.calls.gone).toEqual([]);
  });
});
