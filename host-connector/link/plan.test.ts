import { describe, expect, it } from 'vitest';

import { BACKOFF_URGENT_MS, HANDSHAKE_MS, LIVENESS_MS, REPEAT_MIN_MS } from '#shared/link/limits.ts';
import { backoffMs } from './backoff.ts';
import {
  decide,
  DRAIN_SPREAD_MS,
  GIVE_UP_MS,
  nextWake,
  REFUSED_RETRY_MS,
  RETIRE_MS,
  servingLine,
  unlinked,
  type Effect,
  type LinkState,
  type Wake,
} from './plan.ts';

const HEARTBEAT = 480_000;
const ROTATE = 12 * HEARTBEAT;

/** A link on a clock of its own: `wake` steps now, `pass` lets time go by with all its ticks. */
function link(random = 0.5, urgent = false) {
  let state: LinkState = { ...unlinked(0), urgent };
  let now = 0;
  const log: [number, Effect][] = [];
  const wake = (wake: Wake): Effect[] => {
    const step = decide(state, wake, now, random);
    state = step.state;
    log.push(...step.effects.map((effect): [number, Effect] => [now, effect]));
    return [...step.effects];
  };
  const pass = (ms: number): Effect[] => {
    const until = now + ms;
    const seen: Effect[] = [];
    for (let rounds = 0; nextWake(state) <= until; rounds += 1) {
      if (rounds > 1000) throw new Error('the clock spins');
      now = Math.max(now, nextWake(state));
      seen.push(...wake({ why: 'tick' }));
    }
    now = until;
    return seen;
  };
  const welcome = (line: number): Effect[] => {
    wake({ why: 'opened', line });
    return wake({ why: 'welcomed', line, heartbeatMs: HEARTBEAT, rotateMs: ROTATE });
  };
  wake({ why: 'tick' });
  return {
    wake,
    pass,
    welcome,
    log,
    serving: () => servingLine(state),
    lines: () => state.lines.map((line) => line.is),
  };
}

describe('the plan of the link', () => {
  it('dials at once and serves after the welcome', () => {
    const { log, welcome, serving } = link();
    expect(log).toEqual([[0, { do: 'dial', line: 1, replaces: false }]]);
    expect(welcome(1)).toEqual([{ do: 'serve', line: 1 }]);
    expect(serving()).toBe(1);
  });

  it.each([
    ['the dial', () => {}],
    ['the welcome', (wake: (wake: Wake) => void) => wake({ why: 'opened', line: 1 })],
  ])('hangs up when %s takes too long, and dials again', (_what, before) => {
    const { wake, pass } = link();
    before(wake);
    const hungUp = { do: 'close', line: 1, because: expect.stringContaining('longer than') };
    expect(pass(HANDSHAKE_MS).at(-1)).toEqual(hungUp);
    expect(pass(30_000)[0]).toEqual({ do: 'dial', line: 2, replaces: false });
  });

  it('says hello again until it is welcome', () => {
    const { wake, pass, welcome } = link();
    expect(wake({ why: 'opened', line: 1 })).toEqual([{ do: 'greet', line: 1 }]);
    expect(pass(REPEAT_MIN_MS)).toEqual([{ do: 'greet', line: 1 }]);
    welcome(1);
    expect(pass(HANDSHAKE_MS)).toEqual([]);
  });

  it('beats when nothing was sent for long, and hangs up when that has no answer', () => {
    const { pass, welcome, wake } = link();
    welcome(1);
    expect(pass(HEARTBEAT - 1)).toEqual([]);
    expect(pass(1)).toEqual([{ do: 'beat', line: 1 }]);
    wake({ why: 'heard', line: 1 });
    expect(pass(HEARTBEAT - 1)).toEqual([]);
    expect(pass(1 + LIVENESS_MS).map((effect) => effect.do)).toEqual(['beat', 'beat', 'beat', 'beat', 'close']);
  });

  it('asks for a sign of life when what was sent has no echo', () => {
    const { pass, welcome, wake } = link();
    welcome(1);
    wake({ why: 'sent', line: 1 });
    pass(10_000);
    wake({ why: 'sent', line: 1 });
    expect(pass(LIVENESS_MS - 10_000)).toEqual([{ do: 'beat', line: 1 }]);
    expect(pass(LIVENESS_MS).map((effect) => effect.do)).toContain('close');
  });

  it('makes the new line before it breaks the old one', () => {
    const { pass, welcome, wake, lines, serving } = link();
    welcome(1);
    for (let at = HEARTBEAT; at <= ROTATE - HEARTBEAT; at += HEARTBEAT) {
      pass(HEARTBEAT);
      wake({ why: 'heard', line: 1 });
    }
    expect(pass(HEARTBEAT)).toContainEqual({ do: 'dial', line: 2, replaces: true });
    wake({ why: 'heard', line: 1 });
    expect(serving()).toBe(1);
    welcome(2);
    expect([serving(), lines()]).toEqual([2, ['retiring', 'serving']]);
    expect(pass(RETIRE_MS)).toEqual([{ do: 'close', line: 1, because: 'replaced by a newer connection' }]);
  });

  it('keeps the old line when its replacement fails, and tries again', () => {
    const { pass, welcome, wake, serving } = link();
    welcome(1);
    wake({ why: 'drain', line: 1 });
    expect(pass(DRAIN_SPREAD_MS)).toEqual([{ do: 'dial', line: 2, replaces: true }]);
    wake({ why: 'closed', line: 2, refused: false });
    expect(serving()).toBe(1);
    expect(pass(30_000)[0]).toEqual({ do: 'dial', line: 3, replaces: true });
  });

  it('gives up when no line can be had for long, but not because it is refused', () => {
    const lost = link();
    for (let line = 1; line < 200; line += 1) {
      lost.wake({ why: 'closed', line, refused: false });
      lost.pass(30_000);
    }
    expect(lost.log.find(([, effect]) => effect.do === 'give-up')?.[0]).toBe(GIVE_UP_MS);
    const refused = link();
    for (let line = 1; line < 20; line += 1) {
      refused.wake({ why: 'closed', line, refused: true });
      expect(refused.pass(REFUSED_RETRY_MS)).toEqual([{ do: 'dial', line: line + 1, replaces: false }]);
    }
  });

  it('while a session waits dials every few seconds, however long that fails', () => {
    const { wake, pass, welcome } = link(0.999, true);
    welcome(1);
    for (let line = 1; line < 12; line += 1) {
      wake({ why: 'closed', line, refused: false });
      expect(pass(BACKOFF_URGENT_MS)).toMatchObject([{ do: 'dial', line: line + 1 }]);
    }
  });

  it('takes nothing more once stopped', () => {
    const { wake, welcome, pass } = link();
    welcome(1);
    expect(wake({ why: 'stop' })).toEqual([{ do: 'close', line: 1, because: 'stopping' }]);
    expect(pass(GIVE_UP_MS * 2)).toEqual([]);
  });
});

describe('the back-off', () => {
  it('is between half a second and a ceiling that doubles to 30 s', () => {
    expect([1, 2, 3, 8, 1000].map((attempt) => backoffMs(attempt, 0))).toEqual([500, 500, 500, 500, 500]);
    expect([1, 2, 3, 8, 1000].map((attempt) => backoffMs(attempt, 1))).toEqual([1000, 2000, 4000, 30_000, 30_000]);
  });
});
