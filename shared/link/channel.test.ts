import { describe, expect, it } from 'vitest';

import { Channel, closedError, fromWireFrame, toWireFrame, type ChannelListener, type SendFrame } from './channel.ts';
import { encodeFrame, type StreamWireFrame } from './frames.ts';
import { MAX_FRAME_BYTES, STREAM_GRACE_MS } from './limits.ts';
import { decodeClientControl, decodeHostControl, encodeControl } from './session.ts';
import { DEFAULT_WINDOW_MESSAGES, MAX_MESSAGE_BYTES } from './stream/frames.ts';

/** A virtual clock, and two ends with a link between them that may be cut. */
function bench(listeners: { near?: Partial<ChannelListener>; far?: Partial<ChannelListener> } = {}) {
  let now = 0;
  let tasks: { at: number; task: () => void }[] = [];
  const world = {
    now: () => now,
    schedule: (ms: number, task: () => void) => {
      const entry = { at: now + ms, task };
      tasks.push(entry);
      return () => {
        tasks = tasks.filter((other) => other !== entry);
      };
    },
  };
  const advance = (ms: number): void => {
    const until = now + ms;
    for (;;) {
      const [next] = tasks.filter((task) => task.at <= until).sort((a, b) => a.at - b.at);
      if (!next) break;
      tasks = tasks.filter((task) => task !== next);
      now = Math.max(now, next.at);
      next.task();
    }
    now = until;
  };
  const cut = { near: false, far: false };
  const tickets: string[] = [];
  const log: string[] = [];
  const listener = (name: string, own: Partial<ChannelListener> = {}): ChannelListener => ({
    data: (channel, bytes, end) =>
      void log.push(`${name} ${channel} ${Buffer.from(bytes).toString()}${end ? '.' : ''}`),
    control: (bytes) => void log.push(`${name} control ${Buffer.from(bytes).toString()}`),
    finished: () => void log.push(`${name} finished`),
    writable: () => {},
    closed: (code) => void log.push(`${name} closed ${code}`),
    ...own,
  });
  const carry =
    (from: 'near' | 'far', to: () => Channel): SendFrame =>
    (frame) => {
      tickets.push(frame.g);
      if (!cut[from]) world.schedule(20, () => to().receive(JSON.parse(encodeFrame(frame)) as StreamWireFrame));
    };
  const toFar = carry('near', () => far);
  const toNear = carry('far', () => near);
  const near = new Channel({ id: 's', ticket: 'n1', send: toFar, world, listener: listener('near', listeners.near) });
  const far = new Channel({ id: 's', ticket: 'f1', send: toNear, world, listener: listener('far', listeners.far) });
  return { near, far, toFar, toNear, advance, cut, log, tickets, pending: () => tasks.length };
}

const text = (value: string): Uint8Array => Buffer.from(value);

describe('a channel', () => {
  it('carries both ways, ends in order, and leaves no timer behind', () => {
    const { near, far, advance, log, pending } = bench();
    near.write(0, text('in'), true);
    near.finish();
    far.write(1, text('out'), true);
    far.control(encodeControl({ exit: 3 }));
    far.finish();
    advance(60_000);
    expect(log).toEqual([
      'far 0 in.',
      'far finished',
      'near 1 out.',
      'near control {"exit":3}',
      'near finished',
      'near closed done',
      'far closed done',
    ]);
    expect([near.over, far.over, pending()]).toEqual([true, true, 0]);
  });

  it('grants no more credit while the application has not taken what came', async () => {
    const got: number[] = [];
    let release: (() => void) | undefined;
    const hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { near, advance } = bench({
      far: {
        data: (_channel, bytes) => {
          got.push(bytes.length);
          return hold;
        },
      },
    });
    for (let round = 0; round < 100 && near.writable() > MAX_MESSAGE_BYTES; round += 1) {
      near.write(0, new Uint8Array(MAX_MESSAGE_BYTES));
      advance(50);
    }
    advance(5_000);
    expect(got).toHaveLength(DEFAULT_WINDOW_MESSAGES);
    expect(near.writable()).toBeLessThan(MAX_MESSAGE_BYTES);
    release?.();
    await hold;
    await Promise.resolve();
    advance(5_000);
    expect(got.length).toBeGreaterThan(DEFAULT_WINDOW_MESSAGES);
  });

  it('goes on after its connection was replaced, with the new ticket, losing nothing', () => {
    const { near, far, toFar, advance, cut, log, tickets } = bench();
    near.write(0, text('a'));
    advance(100);
    cut.near = true;
    near.write(0, text('b'));
    near.disconnected();
    far.gone();
    advance(20_000);
    cut.near = false;
    near.resume('n2', toFar);
    advance(6_000);
    near.write(0, text('c'));
    advance(100);
    expect(log.filter((line) => line.startsWith('far 0')).join('')).toBe('far 0 afar 0 bfar 0 c');
    expect(tickets.slice(-3)).toContain('n2');
    expect(near.isOpen && far.isOpen).toBe(true);
  });

  it('ends with "gone" when nobody comes back within the grace', () => {
    const { near, far, advance, cut, log } = bench();
    cut.near = true;
    cut.far = true;
    near.disconnected();
    const again = (): void => far.gone();
    again();
    for (let second = 0; second < 8; second += 1) {
      advance(5_000);
      if (far.isOpen) again();
    }
    expect(log).toEqual(['near closed gone', 'far closed gone']);
    expect(closedError('gone', 'the other end was away').message).toMatch(/ended early/);
  });

  it('with nothing to say stays open for hours, as long as the other end is there', () => {
    const { near, far, advance, tickets } = bench();
    advance(3 * 3600_000);
    expect([near.isOpen, far.isOpen]).toEqual([true, true]);
    // Two ends, each three signs of life a minute.
    expect(tickets.length).toBe(2 * 3 * 60 * 3);
  });

  it('with nothing to say notices that the other end vanished without a word', () => {
    const { near, advance, cut, log } = bench();
    advance(60_000);
    cut.near = true;
    cut.far = true;
    advance(115_000);
    expect(near.isOpen).toBe(true);
    advance(30_000);
    expect(log).toEqual(['near closed stalled', 'far closed stalled']);
  });

  it('ends with "gone" although new tickets come, when they lead nowhere', () => {
    const { near, toFar, advance, cut, log } = bench();
    cut.near = true;
    for (let ms = 0; ms <= STREAM_GRACE_MS && near.isOpen; ms += 2_000) {
      near.gone();
      advance(1_900);
      near.resume(`n${ms}`, toFar);
      advance(100);
    }
    expect(log[0]).toBe('near closed gone');
  });

  it('forgets a "gone" that was old news', () => {
    const { far, advance, log } = bench();
    far.gone();
    advance(120_000);
    expect(far.isOpen).toBe(true);
    expect(log).toEqual([]);
  });

  it('resets when the application fails to take the data', async () => {
    const { near, advance, log } = bench({ far: { data: () => Promise.reject(new Error('pipe broke')) } });
    near.write(0, text('x'));
    advance(30);
    await new Promise(setImmediate);
    advance(30);
    expect(log).toEqual(['far closed failed', 'near closed failed']);
  });

  it('lets a listener write from inside its own calls', () => {
    const { near, far, advance, log } = bench({
      far: { data: (_channel, bytes) => far.write(1, bytes) },
    });
    near.write(0, text('echo'));
    advance(100);
    expect(log).toEqual(['near 1 echo']);
  });
});

describe('the wire', () => {
  it('holds the largest message with a long ticket', () => {
    const frame = {
      t: 'd',
      s: 'x'.repeat(64),
      q: 2 ** 40,
      c: 1,
      b: new Uint8Array(MAX_MESSAGE_BYTES),
      f: true,
    } as const;
    const wire = toWireFrame({ ...frame, a: 2 ** 40, w: 2 ** 40, k: [[2 ** 40, 2 ** 40 + 1]] }, 't'.repeat(400));
    expect(encodeFrame(wire).length).toBeLessThan(MAX_FRAME_BYTES);
    expect(fromWireFrame(wire)).toMatchObject({ q: 2 ** 40, f: true, k: [[2 ** 40, 2 ** 40 + 1]] });
  });

  it('reads the control messages of LXD, whose sizes are text', () => {
    const resize = text('{"command":"window-resize","args":{"width":"120","height":"40"}}');
    expect(decodeClientControl(resize)).toEqual({ command: 'window-resize', args: { width: 120, height: 40 } });
    expect(decodeClientControl(text('{"command":"signal","signal":15}'))).toEqual({ command: 'signal', signal: 15 });
    expect(decodeHostControl(encodeControl({ exit: 137 }))).toEqual({ exit: 137 });
    expect(() => decodeClientControl(text('{"command":"reboot"}'))).toThrow(/does not know/);
  });
});
