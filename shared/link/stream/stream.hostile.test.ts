import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_MESSAGE_BYTES, type DataFrame, type StreamFrame } from './frames.ts';
import { End } from './hand-driven.ts';
import { isOver, writable } from './stream.ts';

describe('a hostile peer', () => {
  const tiny = fc.uint8Array({ maxLength: 8 });
  const seq = fc.integer({ min: 0, max: 60 });
  const plausible: fc.Arbitrary<StreamFrame> = fc.oneof(
    fc.record({ t: fc.constant('d' as const), s: fc.constant('s'), q: seq, c: fc.constantFrom(1, 2, 9), b: tiny }),
    fc
      .record({ t: fc.constant('d' as const), s: fc.constant('s'), q: seq, c: fc.constantFrom(1, 2), b: tiny })
      .chain((frame) => fc.nat(2).map((a) => ({ ...frame, a, w: a + 16 }))),
    fc
      .tuple(fc.nat(3), fc.nat(2), fc.integer({ min: 1, max: 2 }))
      .map(([a, gap, run]) => ({ t: 'a' as const, s: 's', a, k: [[a + gap, a + gap + run] as const], w: a + 16 })),
  );
  const absurd = fc.constantFrom(-1, 0.5, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 53, 1e300, 7);
  const ack = { a: absurd, k: fc.array(fc.tuple(absurd, absurd), { maxLength: 18 }), w: absurd };
  const bytes = fc.oneof(tiny, fc.constant(new Uint8Array(MAX_MESSAGE_BYTES + 1)));
  const id = fc.constantFrom('s', 'other');
  const wild: fc.Arbitrary<StreamFrame> = fc.oneof(
    fc.record({ t: fc.constant('d' as const), s: id, q: absurd, c: absurd, b: bytes, ...ack }),
    fc.record({ t: fc.constant('d' as const), s: id, q: seq, c: fc.nat(9), b: bytes, f: fc.constant(true as const) }),
    fc.record({ t: fc.constant('a' as const), s: id, ...ack }),
    fc.record({ t: fc.constant('rst' as const), s: id, code: fc.string(), msg: fc.string() }),
  );
  const frame = fc.oneof({ weight: 60, arbitrary: plausible }, { weight: 1, arbitrary: wild });

  it('makes nothing throw, nothing grow beyond its bounds, and nothing be delivered that it did not send in that place', () => {
    const property = fc.property(fc.array(fc.tuple(frame, fc.nat(500)), { size: 'max', maxLength: 150 }), (frames) => {
      const end = new End();
      for (let n = 0; n < 10; n += 1) end.send(1, 1);
      const sent = new Map<number, DataFrame[]>();
      let place = 0;
      for (const [frame, pause] of frames) {
        end.now += pause;
        if (frame.t === 'd' && frame.s === 's') sent.set(frame.q, [...(sent.get(frame.q) ?? []), frame]);
        if (pause % 7 === 0 && writable(end.state) > 100) end.send(1, 100);
        for (const output of end.feed({ kind: 'frame', frame })) {
          if (output.kind !== 'deliver') continue;
          const { channel, bytes } = output;
          if (channel !== 9 && pause % 3 > 0) end.feed({ kind: 'consumed', messages: 1 });
          expect(sent.get(place)!.some(({ c, b }) => c === channel && b === bytes)).toBe(true);
          place += 1;
        }
      }
      expect(end.outputs.filter(({ kind }) => kind === 'closed').length).toBe(isOver(end.state) ? 1 : 0);
    });
    fc.assert(property, { numRuns: 1_000 });
  });

  it('cannot break a stream by frames that an honest peer could have sent late, twice or beyond the credit', () => {
    const late: fc.Arbitrary<StreamFrame> = fc.oneof(
      fc.record({
        t: fc.constant('d' as const),
        s: fc.constant('s'),
        q: fc.integer({ min: 60, max: 1e6 }),
        c: fc.nat(8),
        b: bytes.filter((b) => b.length < 10),
      }),
      fc.record({
        t: fc.constant('d' as const),
        s: fc.constant('s'),
        q: fc.constant(0),
        c: fc.nat(8),
        b: fc.uint8Array({ maxLength: 8 }),
      }),
      fc.record({
        t: fc.constant('a' as const),
        s: fc.constant('s'),
        a: fc.constant(0),
        k: fc.constant([]),
        w: fc.nat(16),
      }),
      wild.map((frame): StreamFrame => ({ ...frame, s: 'other' })),
    );
    const property = fc.property(fc.array(late, { maxLength: 40 }), (frames) => {
      const end = new End();
      let delivered: number[] = [];
      for (let q = 0; q < 40; q += 1) {
        end.now += 10;
        const outputs = [end.data(q), ...(frames[q] ? [end.feed({ kind: 'frame', frame: frames[q]! })] : [])].flat();
        delivered = delivered.concat(outputs.flatMap((output) => (output.kind === 'deliver' ? [...output.bytes] : [])));
        end.feed({ kind: 'consumed', messages: 1 });
      }
      expect(end.state.phase).toBe('open');
      expect(delivered).toEqual(Array.from({ length: 40 }, (_, q) => q));
    });
    fc.assert(property, { numRuns: 300 });
  });
});
