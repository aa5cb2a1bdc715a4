import { describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { DEFAULT_WINDOW_MESSAGES, MAX_UNACKED_BYTES, type StreamFrame } from './frames.ts';
import { dataOf, End, framesOf } from './hand-driven.ts';
import { ACK_DELAY_MS, ACK_EVERY_MESSAGES } from './receiver.ts';
import { RTO_INITIAL_MS, RTO_MIN_MS } from './rtt.ts';
import { OVERTAKEN_MESSAGES } from './sender.ts';
import {
  CHANNEL,
  isOver,
  LINGER_MS,
  MAX_CONTROL_BYTES,
  MAX_MESSAGE_BYTES,
  nextWake,
  open,
  SEND_BUFFER_BYTES,
  STALL_MS,
  writable,
  WRITABLE_BYTES,
  type StreamOutput,
} from './stream.ts';

const seqs = (frames: readonly StreamFrame[]): number[] =>
  frames.flatMap((frame) => (frame.t === 'd' ? [frame.q] : []));

describe('sending', () => {
  it('splits what is larger than a message, and ends the channel with the last part', () => {
    const frames = new End().send(1, MAX_MESSAGE_BYTES + 1, { end: true });
    expect(frames).toMatchObject([
      { q: 0, c: 1, b: { length: MAX_MESSAGE_BYTES } },
      { q: 1, c: 1, b: { length: 1 }, f: true },
    ]);
    expect(frames[0]).not.toHaveProperty('f');
  });

  it('stops at the credit, and goes on with what waited put together', () => {
    const end = new End({ peerWindow: 1 });
    expect(seqs(end.send(1, 3))).toEqual([0]);
    for (const byte of [1, 2, 3]) expect(end.send(1, Uint8Array.of(byte))).toEqual([]);
    expect(dataOf(end.ack(1, 2))).toMatchObject([{ q: 1, b: Uint8Array.of(1, 2, 3) }]);
  });

  it('keeps at most 1 MiB in flight, whatever the credit', () => {
    const end = new End({ peerWindow: 64 });
    let sent = 0;
    while (writable(end.state) >= MAX_MESSAGE_BYTES) sent += end.send(1, MAX_MESSAGE_BYTES).length;
    expect(sent).toBe(Math.floor(MAX_UNACKED_BYTES / MAX_MESSAGE_BYTES));
  });

  it('bounds what may wait, and tells when there is room again', () => {
    const end = new End({ peerWindow: 1 });
    end.send(1, 1);
    end.send(1, SEND_BUFFER_BYTES);
    expect(writable(end.state)).toBe(0);
    expect(() => end.send(1, 1)).toThrow(/exceed the 0/);
    const outputs = [1, 2, 3, 4, 5, 6].flatMap((a) => end.ack(a, a + 1));
    expect(outputs.filter(({ kind }) => kind === 'writable')).toHaveLength(1);
    expect(writable(end.state)).toBe(6 * MAX_MESSAGE_BYTES);
    expect(writable(end.state)).toBeGreaterThanOrEqual(WRITABLE_BYTES);
  });

  it('copies, so that the caller may use its buffer again', () => {
    const end = new End();
    const bytes = Uint8Array.of(1);
    const frames = end.send(1, bytes);
    bytes[0] = 2;
    expect(frames).toMatchObject([{ b: Uint8Array.of(1) }]);
  });

  it('refuses what a caller must not do', () => {
    const end = new End();
    end.send(1, 1, { end: true });
    const misuses = [
      () => end.send(1, 1),
      () => end.send(10, 1),
      () => end.send(1.5, 1),
      () => end.send(0, 1, { urgent: true }),
      () => end.send(9, 1, { end: true }),
      () => end.send(9, MAX_CONTROL_BYTES + 1),
      () => end.feed({ kind: 'consumed', messages: 1 }),
      () => open('s', { window: 65 }),
      () => open('s', { peerWindow: 0 }),
    ];
    for (const misuse of misuses) expect(misuse).toThrow(/^A stream was misused/);
    end.feed({ kind: 'finish' });
    expect(() => end.feed({ kind: 'finish' })).toThrow(/has ended already/);
    try {
      end.send(0, 1);
      expect.unreachable();
    } catch (error) {
      expect(isFairleadError(error, 'internal')).toBe(true);
    }
  });
});

describe('control', () => {
  it('passes the data credit, in order', () => {
    const end = new End({ peerWindow: 1 });
    end.send(0, 1);
    expect(seqs(end.send(9, 1))).toEqual([1]);
    end.send(0, 1);
    expect(end.send(9, 1)).toEqual([]);
  });

  it('overtakes data that waits when it is urgent', () => {
    const end = new End({ peerWindow: 1 });
    end.send(0, 1);
    end.send(0, 1);
    const frames = [1, 2].flatMap((byte) => end.send(9, Uint8Array.of(byte), { urgent: true }));
    expect(frames).toMatchObject([
      { q: 1, c: 9, b: Uint8Array.of(1) },
      { q: 2, c: 9, b: Uint8Array.of(2) },
    ]);
    expect(dataOf(end.ack(3, 4))).toMatchObject([{ q: 3, c: 0 }]);
  });

  it('is delivered though the application takes nothing, up to its reserve', () => {
    const end = new End({ window: 4 });
    for (const q of [0, 1, 2, 3]) end.data(q);
    expect(end.data(4)).toEqual([]);
    expect(end.data(4, { c: 9 })).toMatchObject([{ kind: 'deliver', channel: 9 }]);
    expect(end.data(13, { c: 9 })).toEqual([]);
    expect(end.state.receiver.early).toEqual([]);
  });
});

describe('receiving', () => {
  it('delivers in order what came out of order, and drops what lies beyond the credit', () => {
    const end = new End({ window: 4 });
    expect([end.data(1), end.data(3), end.data(4)].flat().filter(({ kind }) => kind === 'deliver')).toEqual([]);
    const delivered = end.data(0).flatMap((output) => (output.kind === 'deliver' ? [...output.bytes] : []));
    expect(delivered).toEqual([0, 1]);
    end.data(4);
    expect(end.state.receiver.early.map(({ seq }) => seq)).toEqual([3]);
  });

  it('acknowledges at four messages, with ranges and credit', () => {
    const end = new End();
    expect(ACK_EVERY_MESSAGES).toBe(4);
    expect([end.data(0), end.data(2), end.data(3)].flatMap(framesOf)).toEqual([]);
    expect(framesOf(end.data(5))).toEqual([
      {
        t: 'a',
        s: 's',
        a: 1,
        k: [
          [2, 4],
          [5, 6],
        ],
        w: DEFAULT_WINDOW_MESSAGES,
      },
    ]);
  });

  it('acknowledges after 40 ms, a duplicate too', () => {
    const end = new End();
    end.data(0);
    expect(nextWake(end.state)).toBe(ACK_DELAY_MS);
    expect(framesOf(end.tickAt(40))).toMatchObject([{ t: 'a', a: 1 }]);
    end.data(0);
    expect(framesOf(end.tickAt(80))).toMatchObject([{ t: 'a', a: 1 }]);
  });

  it('lets an acknowledgement ride on data', () => {
    const end = new End();
    end.data(0);
    expect(end.send(0, 1)).toMatchObject([{ t: 'd', q: 0, a: 1, w: DEFAULT_WINDOW_MESSAGES }]);
    expect(framesOf(end.tickAt(40))).toEqual([]);
  });

  it('opens the credit when the application has taken half a window', () => {
    const end = new End({ window: 4 });
    for (const q of [0, 1, 2, 3]) end.data(q);
    end.tickAt(100);
    expect(framesOf(end.feed({ kind: 'consumed', messages: 2 }))).toMatchObject([{ t: 'a', a: 4, w: 6 }]);
  });
});

describe('sending again', () => {
  it('repeats after the timeout, which doubles until there is progress', () => {
    const end = new End();
    end.send(1, 1);
    const times: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      times.push(nextWake(end.state)!);
      expect(seqs(framesOf(end.tickAt(times.at(-1)!)))).toEqual([0]);
    }
    expect(times).toEqual([1_000, 3_000, 7_000, 12_000, 17_000, 22_000]);
    end.ack(1, 17);
    end.send(1, 1);
    expect(nextWake(end.state)).toBe(23_000);
  });

  it('gives up in time on a clock with fractions', () => {
    const end = new End();
    end.now = 16_013.416_327_355_87;
    end.send(1, 1);
    for (let wake = nextWake(end.state); wake !== undefined; wake = nextWake(end.state)) end.tickAt(wake);
    expect(end.outputs.at(-1)).toMatchObject({ kind: 'closed', code: 'stalled' });
    expect(end.now).toBeCloseTo(16_013.416 + STALL_MS, 1);
  });

  it('does not take overtaking for loss, but overtaking and being late', () => {
    const end = new End({ peerWindow: 64 });
    for (let q = 0; q < 40; q += 1) {
      end.now = q * 100;
      end.send(1, 1);
      end.now += 80;
      end.ack(q + 1, q + 65);
    }
    end.now = 10_000;
    for (let n = 0; n <= OVERTAKEN_MESSAGES; n += 1) end.send(1, 1);
    end.now += 80;
    expect(framesOf(end.ack(40, 104, [[41, 41 + OVERTAKEN_MESSAGES]]))).toEqual([]);
    const wake = nextWake(end.state)!;
    expect(wake).toBeLessThan(10_000 + RTO_MIN_MS);
    expect(seqs(framesOf(end.tickAt(wake)))).toEqual([40]);
  });

  it('asks for credit with an empty duplicate while data waits and nothing is in flight', () => {
    const end = new End({ peerWindow: 1 });
    end.send(1, 5);
    end.send(1, 5);
    end.now = 10;
    end.ack(1, 1);
    expect(framesOf(end.tickAt(nextWake(end.state)!))).toMatchObject([{ t: 'd', q: 0, b: { length: 0 } }]);
  });
});

describe('a path that changes', () => {
  it('sends nothing while it is paused and repeats what the peer may have missed on the new path', () => {
    const end = new End();
    end.send(1, 1);
    end.send(1, 1);
    end.data(0);
    end.feed({ kind: 'paused' });
    expect(nextWake(end.state)).toBeUndefined();
    expect([...end.send(1, 1), ...framesOf(end.data(1)), ...framesOf(end.tickAt(1_000_000))]).toEqual([]);
    const frames = framesOf(end.feed({ kind: 'path' }));
    expect(frames).toMatchObject([{ q: 0, a: 2 }, { q: 1 }, { q: 2 }]);
    expect(nextWake(end.state)).toBe(1_000_000 + RTO_INITIAL_MS);
  });

  it('repeats its acknowledgement when it has no data', () => {
    expect(framesOf(new End().feed({ kind: 'path' }))).toEqual([
      { t: 'a', s: 's', a: 0, k: [], w: DEFAULT_WINDOW_MESSAGES },
    ]);
  });
});

describe('the end', () => {
  it('is done when the own finish is acknowledged and that of the peer delivered, and lingers', () => {
    const end = new End();
    end.feed({ kind: 'finish' });
    expect(end.data(0, { c: 9, f: true, b: new Uint8Array() })).toMatchObject([
      { kind: 'deliver', channel: CHANNEL.control, end: true },
      { kind: 'transmit', frame: { t: 'a', a: 1 } },
    ]);
    expect(end.ack(1, 17)).toMatchObject([{ kind: 'closed', code: 'done' }]);
    end.data(0, { c: 9, f: true, b: new Uint8Array() });
    expect(framesOf(end.tickAt(40))).toMatchObject([{ t: 'a', a: 1 }]);
    expect(isOver(end.state)).toBe(false);
    expect(end.tickAt(LINGER_MS)).toEqual([]);
    expect(isOver(end.state)).toBe(true);
    expect(nextWake(end.state)).toBeUndefined();
  });

  it('is a reset of either side, told once', () => {
    const ours = new End();
    expect(ours.feed({ kind: 'reset', code: 'gone', msg: 'm' })).toEqual([
      { kind: 'transmit', frame: { t: 'rst', s: 's', code: 'gone', msg: 'm' } },
      { kind: 'closed', code: 'gone', msg: 'm' },
    ]);
    expect(ours.feed({ kind: 'reset', code: 'gone', msg: 'm' })).toEqual([]);
    const theirs = new End();
    const frame = { t: 'rst', s: 's', code: 'done', msg: 'm' } as const;
    expect(theirs.feed({ kind: 'frame', frame })).toEqual([{ kind: 'closed', code: 'protocol', msg: 'm' }]);
    expect(isOver(theirs.state)).toBe(true);
  });

  it.each<[string, (end: End) => readonly StreamOutput[]]>([
    ['an acknowledgement of what was never sent', (end) => end.ack(1, 17)],
    ['a range of what was never sent', (end) => end.ack(0, 16, [[3, 4]])],
    ['a credit that no receiver grants', (end) => end.ack(0, 65)],
    ['a negative sequence number', (end) => end.data(-1)],
    ['a channel that does not exist', (end) => end.data(0, { c: 10 })],
    ['a message that is too large', (end) => end.data(0, { b: new Uint8Array(MAX_MESSAGE_BYTES + 1) })],
    ['a message behind the end of its channel', (end) => [...end.data(0, { f: true }), ...end.data(1)]],
    ['a message behind the end of its direction', (end) => [...end.data(0, { c: 9, f: true }), ...end.data(1)]],
    ['an early message behind the end of its direction', (end) => [...end.data(1), ...end.data(0, { c: 9, f: true })]],
  ])('is a reset on %s', (_what, act) => {
    const end = new End();
    expect(act(end).filter(({ kind }) => kind === 'closed')).toMatchObject([{ code: 'protocol' }]);
  });
});
