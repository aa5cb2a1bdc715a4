import { BACKOFF_MAX_MS, BACKOFF_URGENT_MS, HANDSHAKE_MS, LIVENESS_MS } from '#shared/link/limits.ts';
import { repeatMs } from '#shared/link/repeat.ts';
import { backoffMs } from './backoff.ts';

/**
 * When to dial, beat, rotate, hang up and give up: pure. A host keeps one line to the edge; during a rotation there are two, and the old one
 * goes only after the new one serves. Times are milliseconds of a monotonic clock.
 */

/** How long the old line of a rotation stays open for what is still under way on it. */
export const RETIRE_MS = 5_000;
/** Between attempts of a host that the control plane refuses. */
export const REFUSED_RETRY_MS = 5 * 60_000;
/** Without a line for this long the process is taken to be broken and exits; systemd starts a fresh one. */
export const GIVE_UP_MS = 15 * 60_000;
/** A drained line is replaced within this long, so that not all hosts of an edge dial at once. */
export const DRAIN_SPREAD_MS = 10_000;

export type Line =
  /** Nonce, TCP, TLS and the upgrade. */
  | { readonly id: number; readonly is: 'dialling'; readonly deadline: number }
  /** `hello`, again and again, until `welcome`. */
  | {
      readonly id: number;
      readonly is: 'greeting';
      readonly deadline: number;
      readonly greetings: number;
      readonly greetAt: number;
    }
  | {
      readonly id: number;
      readonly is: 'serving';
      readonly heartbeatMs: number;
      readonly rotateAt: number;
      readonly sentAt: number;
      /** Since when something was sent and nothing at all came back. */
      readonly unansweredSince: number | undefined;
      /** The heartbeats that have no answer yet: when the first went out, how many there were, and when the next is due. */
      readonly beating: { readonly since: number; readonly beats: number; readonly againAt: number } | undefined;
    }
  | { readonly id: number; readonly is: 'retiring'; readonly closeAt: number };
type Serving = Extract<Line, { is: 'serving' }>;

export interface LinkState {
  readonly lines: readonly Line[];
  /** The id of the line dialled last. */
  readonly lastId: number;
  /** Failures in a row. */
  readonly failures: number;
  readonly dialAt: number;
  /** Since when nothing serves; undefined while something does, and while the control plane refuses us on purpose. */
  readonly lostAt: number | undefined;
  /** Somebody's session waits for a line. */
  readonly urgent: boolean;
  readonly stopped: boolean;
}

/** Why the loop woke. */
export type Wake = { readonly why: 'tick' } | { readonly why: 'stop' } | LineWake;

/** Something happened on a line. */
type LineWake =
  | { readonly why: 'opened'; readonly line: number }
  | { readonly why: 'heard'; readonly line: number }
  | { readonly why: 'sent'; readonly line: number }
  | { readonly why: 'drain'; readonly line: number }
  | { readonly why: 'welcomed'; readonly line: number; readonly heartbeatMs: number; readonly rotateMs: number }
  | { readonly why: 'closed'; readonly line: number; readonly refused: boolean };

export type Effect =
  | { readonly do: 'dial'; readonly line: number; readonly replaces: boolean }
  | { readonly do: 'greet' | 'serve' | 'beat'; readonly line: number }
  | { readonly do: 'close'; readonly line: number; readonly because: string }
  | { readonly do: 'give-up' };

export interface Step {
  readonly state: LinkState;
  readonly effects: readonly Effect[];
}

/** A host that wants a line, now. */
export function unlinked(now: number): LinkState {
  return { lines: [], lastId: 0, failures: 0, dialAt: now, lostAt: now, urgent: false, stopped: false };
}

/** The line that frames go out on, if any. */
export function servingLine(state: LinkState): number | undefined {
  return state.lines.find((line) => line.is === 'serving')?.id;
}

/** One step. @param random a number in [0, 1) */
export function decide(state: LinkState, wake: Wake, now: number, random: number): Step {
  const applied = apply(state, wake, now, random);
  if (applied.state.stopped) return applied;
  const kept = keep(applied.state, now, random);
  const dialled = dial(kept.state, now);
  return { state: dialled.state, effects: [...applied.effects, ...kept.effects, ...dialled.effects] };
}

/** When the next `tick` is due. */
export function nextWake(state: LinkState): number {
  if (state.stopped) return Infinity;
  const times = state.lines.map((line) => {
    if (line.is === 'serving') return Math.min(beatDue(line), deadAt(line), rotateDue(state, line));
    if (line.is === 'greeting') return Math.min(line.greetAt, line.deadline);
    return line.is === 'retiring' ? line.closeAt : line.deadline;
  });
  const idle = isDialling(state) || servingLine(state) !== undefined ? Infinity : state.dialAt;
  return Math.min(...times, idle, state.lostAt === undefined ? Infinity : state.lostAt + GIVE_UP_MS);
}

function apply(state: LinkState, wake: Wake, now: number, random: number): Step {
  if (wake.why === 'tick') return { state, effects: [] };
  if (wake.why === 'stop') {
    const effects = state.lines.map((line) => ({ do: 'close', line: line.id, because: 'stopping' }) as const);
    return { state: { ...state, lines: [], stopped: true }, effects };
  }
  const line = state.lines.find((line) => line.id === wake.line);
  return line ? onLine(state, line, wake, now, random) : { state, effects: [] };
}

function onLine(state: LinkState, line: Line, wake: LineWake, now: number, random: number): Step {
  if (wake.why === 'welcomed') return welcomed(state, wake, now);
  return { state: after(state, line, wake, now, random), effects: [] };
}

function after(
  state: LinkState,
  line: Line,
  wake: Exclude<LineWake, { why: 'welcomed' }>,
  now: number,
  random: number,
): LinkState {
  if (wake.why === 'closed') return lose(state, line, wake.refused, now, random);
  if (wake.why === 'opened') {
    const greeting = { is: 'greeting', deadline: now + HANDSHAKE_MS, greetings: 0, greetAt: now } as const;
    return replace(state, { id: line.id, ...greeting });
  }
  if (line.is !== 'serving') return state;
  if (wake.why === 'heard') return replace(state, { ...line, unansweredSince: undefined, beating: undefined });
  if (wake.why === 'drain') return replace(state, { ...line, rotateAt: now + random * DRAIN_SPREAD_MS });
  return replace(state, { ...line, sentAt: now, unansweredSince: line.unansweredSince ?? now });
}

function welcomed(state: LinkState, wake: Extract<Wake, { why: 'welcomed' }>, now: number): Step {
  const { line: id, heartbeatMs, rotateMs } = wake;
  const serving: Line = {
    id,
    is: 'serving',
    heartbeatMs,
    rotateAt: now + rotateMs,
    sentAt: now,
    unansweredSince: undefined,
    beating: undefined,
  };
  const lines = state.lines.map((line): Line => {
    if (line.id === id) return serving;
    return line.is === 'serving' ? { id: line.id, is: 'retiring', closeAt: now + RETIRE_MS } : line;
  });
  return { state: { ...state, lines, failures: 0, lostAt: undefined }, effects: [{ do: 'serve', line: id }] };
}

/** A line ended. Only the one that served, or one that was to serve, is worth an attempt more. */
function lose(state: LinkState, line: Line, refused: boolean, now: number, random: number): LinkState {
  const lines = state.lines.filter((other) => other.id !== line.id);
  const failures = line.is === 'serving' ? 1 : state.failures + 1;
  if (line.is === 'retiring') return { ...state, lines };
  const dialAt =
    now + (refused ? REFUSED_RETRY_MS : backoffMs(failures, random, state.urgent ? BACKOFF_URGENT_MS : BACKOFF_MAX_MS));
  const served = servingLine({ ...state, lines }) !== undefined;
  const lostAt = refused || served ? undefined : (state.lostAt ?? now);
  return { ...state, lines, failures, dialAt, lostAt };
}

/** Deadlines, heartbeats, liveness. */
function keep(before: LinkState, now: number, random: number): Step {
  let state = before;
  const effects: Effect[] = [];
  const hangUp = (line: Line, because: string): void => {
    effects.push({ do: 'close', line: line.id, because });
    state = lose(state, line, false, now, random);
  };
  for (const line of before.lines) {
    if (line.is === 'serving') {
      if (deadAt(line) <= now) hangUp(line, `no answer for ${LIVENESS_MS / 1000} s`);
      else if (beatDue(line) <= now) {
        const { since, beats } = line.beating ?? { since: now, beats: 0 };
        effects.push({ do: 'beat', line: line.id });
        const beating = { since, beats: beats + 1, againAt: now + repeatMs(beats + 1) };
        state = replace(state, { ...line, sentAt: now, beating });
      }
    } else if (line.is === 'retiring') {
      if (line.closeAt <= now) hangUp(line, 'replaced by a newer connection');
    } else if (line.is === 'greeting' && line.deadline > now) {
      if (line.greetAt > now) continue;
      effects.push({ do: 'greet', line: line.id });
      const greetings = line.greetings + 1;
      state = replace(state, { ...line, greetings, greetAt: now + repeatMs(greetings) });
    } else if (line.deadline <= now) hangUp(line, `${line.is} took longer than ${HANDSHAKE_MS / 1000} s`);
  }
  if (state.lostAt === undefined || now - state.lostAt < GIVE_UP_MS) return { state, effects };
  return { state: { ...state, lostAt: now }, effects: [...effects, { do: 'give-up' }] };
}

/** Dials when there is no line, or when the one there is should be replaced. */
function dial(state: LinkState, now: number): Step {
  const serving = state.lines.find((line) => line.is === 'serving');
  const wanted = serving ? rotateDue(state, serving) : state.dialAt;
  if (isDialling(state) || wanted > now) return { state, effects: [] };
  const id = state.lastId + 1;
  const line: Line = { id, is: 'dialling', deadline: now + HANDSHAKE_MS };
  return {
    state: { ...state, lastId: id, lines: [...state.lines, line] },
    effects: [{ do: 'dial', line: id, replaces: serving !== undefined }],
  };
}

function rotateDue(state: LinkState, line: Serving): number {
  return isDialling(state) ? Infinity : Math.max(line.rotateAt, state.failures > 0 ? state.dialAt : 0);
}

/** A heartbeat is due when nothing was sent for long, and as a question when what was sent has no echo at all. */
function beatDue(line: Serving): number {
  if (line.beating !== undefined) return line.beating.againAt;
  return Math.min(line.sentAt + line.heartbeatMs, (line.unansweredSince ?? Infinity) + LIVENESS_MS);
}

function deadAt(line: Serving): number {
  return (line.beating?.since ?? Infinity) + LIVENESS_MS;
}

function isDialling(state: LinkState): boolean {
  return state.lines.some((line) => line.is === 'dialling' || line.is === 'greeting');
}

function replace(state: LinkState, line: Line): LinkState {
  return { ...state, lines: state.lines.map((other) => (other.id === line.id ? line : other)) };
}
