/** The stream on a bad network, in virtual time: nothing lost, repeated or out of order, bounds kept, an end reached. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_WINDOW_MESSAGES, type StreamFrame } from './frames.ts';
import { LINGER_MS, open, STALL_MS, type StreamOptions } from './stream.ts';
import {
  seeded,
  simulate,
  type EndReport,
  type EndRules,
  type NetworkRules,
  type Report,
  type Write,
} from './virtual-network.ts';

const BAD: Omit<NetworkRules, 'seed'> = { delay: 40, jitter: 200, reordered: 0.8, duplicated: 0.01, lost: 0.02 };
const PERFECT: NetworkRules = { seed: 1, delay: 40, jitter: 0, reordered: 0, duplicated: 0, lost: 0 };
const HOUR = 3_600_000;
const MB = 1_000_000;
const atOnce = (now: number): number => now;

/** Bytes in which a part that is lost, repeated or moved shows. */
function noise(random: () => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0, state = random() * 2 ** 32; at < length; at += 1) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** What one direction carries: runs of bytes, ends and control messages, without message boundaries of data channels. */
function transcript(parts: readonly { channel: number; bytes: Uint8Array; end?: boolean }[]): string[] {
  const runs: { channel: number; parts: Uint8Array[] }[] = [];
  const lines: string[] = [];
  const flush = (): void => {
    for (const run of runs.splice(0)) lines.push(`${run.channel} ${Buffer.concat(run.parts).toString('base64')}`);
  };
  for (const { channel, bytes, end } of parts) {
    if (bytes.length > 0 || channel === 9) {
      if (channel === 9 || runs.at(-1)?.channel !== channel) flush();
      if (runs.length === 0) runs.push({ channel, parts: [] });
      runs[0]!.parts.push(bytes);
    }
    if (!end) continue;
    flush();
    lines.push(`${channel} end`);
  }
  flush();
  return lines;
}

/** The transcript an application must see of what its peer wrote; urgent messages are compared apart, for they overtake. */
function expected(writes: readonly Write[]): { inOrder: string[]; urgent: string[] } {
  const parts = writes.map((write) =>
    write === 'finish' ? { channel: 9, bytes: new Uint8Array(), end: true } : write,
  );
  const urgent = parts.filter((part) => 'urgent' in part && part.urgent);
  return { inOrder: transcript(parts.filter((part) => !urgent.includes(part))), urgent: transcript(urgent) };
}

function expectCarried(writes: readonly Write[], to: EndReport): void {
  const isUrgent = ({ channel, bytes }: { channel: number; bytes: Uint8Array }): boolean =>
    channel === 9 && bytes[0] === URGENT;
  const wanted = expected(writes);
  // toBe on a joined string would print megabytes; equality first, the message only on failure.
  expect(transcript(to.delivered.filter((part) => !isUrgent(part))).join('\n') === wanted.inOrder.join('\n')).toBe(
    true,
  );
  expect(transcript(to.delivered.filter(isUrgent))).toEqual(wanted.urgent);
}

function expectDone(report: Report, scripts: readonly [readonly Write[], readonly Write[]]): void {
  for (const end of [0, 1] as const) {
    expect(report.ends[end].closed.map(({ code }) => code)).toEqual(['done']);
    expect(report.ends[end].state.phase).toBe('over');
    expectCarried(scripts[1 - end]!, report.ends[end]);
  }
}

const URGENT = 255;

/** What an application writes: sizes from nothing to many messages, channels mixed, some control, ends behind the data. */
function script(random: () => number): readonly Write[] {
  const count = 1 + Math.floor(random() * 25);
  const writes: Write[] = Array.from({ length: count }, () => {
    const kind = random();
    if (kind < 0.1) return { channel: 9, bytes: Uint8Array.of(URGENT, ...noise(random, 20)), urgent: true };
    if (kind < 0.2) return { channel: 9, bytes: Uint8Array.of(0, ...noise(random, 30)) };
    const length = random() < 0.6 ? random() * 200 : random() < 0.9 ? random() * 30_000 : random() * 400_000;
    return { channel: Math.floor(random() * 3), bytes: noise(random, Math.floor(length)) };
  });
  for (const channel of [0, 1, 2]) {
    if (random() < 0.7) writes.push({ channel, bytes: noise(random, Math.floor(random() * 10)), end: true });
  }
  return [...writes, 'finish'];
}

interface Case {
  readonly seed: number;
  readonly windows: readonly [number, number];
  readonly slow: readonly [number, number];
}

const aCase: fc.Arbitrary<Case> = fc.record({
  seed: fc.nat(),
  windows: fc.tuple(fc.constantFrom(1, 2, 5, 16, 64), fc.constantFrom(1, 3, 16, 16, 64)),
  slow: fc.tuple(fc.constantFrom(0, 0, 5, 100), fc.constantFrom(0, 0, 30, 1_500)),
});

function run(one: Case, rules: Partial<NetworkRules>): void {
  const { report, scripts } = play(one, rules);
  expectDone(report, scripts);
}

function play({ seed, windows, slow }: Case, rules: Partial<NetworkRules>) {
  const random = seeded(seed);
  const scripts = [script(random), script(random)] as const;
  const end = (mine: 0 | 1): EndRules => ({
    state: open('s', optionsOf(windows, mine)),
    writes: scripts[mine],
    readDelay: (now, random) => now + random() * slow[mine],
  });
  return { report: simulate([end(0), end(1)], { ...BAD, seed, ...rules }, HOUR), scripts };
}

function optionsOf(windows: readonly [number, number], mine: 0 | 1): StreamOptions {
  return { window: windows[mine], peerWindow: windows[1 - mine]! };
}

describe('a stream on a network that reorders 80 %, repeats 1 % and loses 2 %', () => {
  it('carries every byte once and in order, both ways, within its bounds', () => {
    fc.assert(
      fc.property(aCase, (one) => run(one, {})),
      { numRuns: 200 },
    );
  });

  it('carries every byte when two fifths are lost, though one end may never learn that all arrived', () => {
    const property = fc.property(aCase, (one) => {
      const { report, scripts } = play(one, { lost: 0.4, duplicated: 0.2 });
      expectCarried(scripts[0], report.ends[1]);
      expectCarried(scripts[1], report.ends[0]);
      expect(report.ends.map((end) => end.closed.map(({ code }) => code))).toContainEqual(['done']);
    });
    fc.assert(property, { numRuns: 40 });
  });

  it('survives cuts at any time that lose everything in flight', () => {
    const cuts = fc.array(fc.nat(20_000), { minLength: 1, maxLength: 6 });
    const property = fc.property(aCase, cuts, fc.nat(25_000), (one, cuts, cutFor) => run(one, { cuts, cutFor }));
    fc.assert(property, { numRuns: 100 });
  });

  it('sends few messages in vain, although most overtake one another', () => {
    const total = { data: 0, repeated: 0, acks: 0, overtaken: 0, arrived: 0 };
    for (let seed = 0; seed < 20; seed += 1) {
      const report = bulk({ ...BAD, seed }, 2 * MB, {});
      total.overtaken += report.overtaken;
      total.arrived += report.arrived;
      const [from, to] = report.ends;
      total.data += from.frames.data;
      total.repeated += from.frames.repeated;
      total.acks += to.frames.acks;
    }
    expect(total.overtaken / total.arrived).toBeGreaterThan(0.5);
    expect(total.repeated / total.data).toBeLessThan(0.06);
    expect(total.acks / total.data).toBeLessThan(0.6);
  });
});

/** One direction of `bytes`, the other only finishes. */
function bulk(
  rules: NetworkRules,
  bytes: number,
  options: StreamOptions,
  readDelay: EndRules['readDelay'] = atOnce,
): Report {
  const writes: Write[] = [{ channel: 1, bytes: new Uint8Array(bytes), end: true }, 'finish'];
  const from: EndRules = { state: open('s', options), writes, readDelay: atOnce };
  const to: EndRules = { state: open('s', options), writes: ['finish'], readDelay };
  const report = simulate([from, to], rules, HOUR);
  expectDone(report, [writes, ['finish']]);
  return report;
}

describe('throughput in virtual time', () => {
  it('fills the window on an 80 ms round trip, and is not ruined by a bad network', () => {
    const rate = (rules: NetworkRules, window: number): number => {
      const report = bulk(rules, 10 * MB, { window, peerWindow: window });
      return 10_000 / (report.ends[0].closed[0]!.at / 1_000);
    };
    const jittery = { ...BAD, jitter: 60 };
    const rows = [16, 32, 64].flatMap((window) => [
      { window, network: 'perfect, 80 ms', 'kB/s': Math.round(rate(PERFECT, window)) },
      {
        window,
        network: 'reordered, nothing lost',
        'kB/s': Math.round(rate({ ...jittery, seed: 1, lost: 0 }, window)),
      },
      { window, network: 'reordered, 2 % lost', 'kB/s': Math.round(rate({ ...jittery, seed: 1 }, window)) },
    ]);
    if (process.env['STREAM_REPORT']) console.table(rows);
    expect(rows[0]!['kB/s']).toBeGreaterThan(3_000);
  });
});

describe('a reader that stops', () => {
  it('stops the sender at the window, and the stream goes on hours later', () => {
    const stopped = HOUR / 2;
    let highest = 0;
    const loses = (frame: StreamFrame, at: number): boolean => {
      if (frame.t === 'd' && at < stopped) highest = Math.max(highest, frame.q);
      return false;
    };
    const report = bulk({ ...PERFECT, loses }, MB, {}, (now) => Math.max(now, stopped));
    expect(highest).toBe(DEFAULT_WINDOW_MESSAGES - 1);
    expect(report.at).toBeGreaterThan(stopped);
  });

  it('does not deadlock when the message that opens the window is lost', () => {
    const stopped = 60_000;
    const loses = (frame: StreamFrame, at: number, from: number): boolean =>
      from === 1 && frame.t === 'a' && at >= stopped && at < stopped + 3_000;
    const report = bulk({ ...PERFECT, loses }, MB, {}, (now) => Math.max(now, stopped));
    expect(report.ends[0].closed[0]!.at).toBeLessThan(stopped + 20_000);
  });
});

describe('a peer that is gone', () => {
  it('resets a stream that waits for it after 120 s', () => {
    const loses = (_frame: StreamFrame, at: number, from: number): boolean => from === 1 && at > 100;
    const writes: Write[] = [{ channel: 1, bytes: new Uint8Array(MB) }];
    const ends = [writes, []].map((writes) => ({ state: open('s'), writes, readDelay: atOnce }));
    const report = simulate([ends[0]!, ends[1]!], { ...PERFECT, loses }, HOUR);
    expect(report.ends[0].closed).toMatchObject([{ code: 'stalled' }]);
    expect(report.ends[0].closed[0]!.at).toBeLessThan(STALL_MS + 2_000);
    expect(report.ends[1].closed).toMatchObject([{ code: 'stalled' }]);
  });

  it('repeats the last acknowledgement while the peer may still ask for it', () => {
    let lost = 0;
    const loses = (frame: StreamFrame, _at: number, from: number): boolean =>
      from === 1 && frame.t === 'a' && lost++ < 3;
    const report = bulk({ ...PERFECT, loses }, 10, {});
    expect(lost).toBeGreaterThan(3);
    expect(report.ends[0].closed[0]!.at).toBeLessThan(LINGER_MS);
  });
});
