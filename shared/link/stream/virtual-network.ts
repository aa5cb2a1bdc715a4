/**
 * Two ends of a stream on a seeded network in virtual time, for tests: it delays, reorders, repeats and loses messages, cuts the path, and lets
 * applications write and read at their own pace. It checks the stated bounds at every step.
 */
import { CONTROL_RESERVE_MESSAGES, MAX_UNACKED_BYTES, type StreamFrame } from './frames.ts';
import { SEND_BUFFER_BYTES, SEND_BUFFER_CONTROLS, SEND_BUFFER_PIECES } from './queue.ts';
import { untakenOf } from './receiver.ts';
import { isOver, nextWake, step, writable, type StreamInput, type StreamOutput, type StreamState } from './stream.ts';

/** What an application does with its direction, in order. */
export type Write =
  | { readonly channel: number; readonly bytes: Uint8Array; readonly end?: boolean; readonly urgent?: boolean }
  | 'finish';

/** Probabilities are 0 to 1, times are ms. A message is `delay` long on its way; a reordered one up to `jitter` more. */
export interface NetworkRules {
  readonly seed: number;
  readonly delay: number;
  readonly jitter: number;
  readonly reordered: number;
  readonly duplicated: number;
  readonly lost: number;
  /** Times at which all in flight is lost, each followed by a pause of `cutFor` before both ends get a new path. */
  readonly cuts?: readonly number[];
  readonly cutFor?: number;
  /** Loses a particular message. */
  readonly loses?: (frame: StreamFrame, at: number, from: number) => boolean;
}

export interface EndRules {
  readonly state: StreamState;
  readonly writes: readonly Write[];
  /** When a message delivered at `now` is taken by the application, which takes one after the other. */
  readonly readDelay: (now: number, random: () => number) => number;
}

export interface EndReport {
  readonly delivered: readonly Extract<StreamOutput, { kind: 'deliver' }>[];
  readonly closed: readonly { readonly code: string; readonly msg: string; readonly at: number }[];
  readonly state: StreamState;
  readonly frames: { readonly data: number; readonly repeated: number; readonly acks: number };
}

export interface Report {
  readonly ends: readonly [EndReport, EndReport];
  /** When both ends were over, or the end of the run. */
  readonly at: number;
  readonly overtaken: number;
  readonly arrived: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** mulberry32: a small seeded generator of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Runs two ends against each other until both are over, nothing is left to happen, or `until`. Throws when a bound is broken. */
export function simulate(ends: readonly [EndRules, EndRules], rules: NetworkRules, until: number): Report {
  const random = seeded(rules.seed);
  const events: Event[] = [];
  let now = 0;
  let order = 0;
  let generation = 0;
  let arrived = 0;
  let overtaken = 0;

  const schedule = (at: number, run: () => void): void => {
    const event = { at, order: order++, run };
    let low = 0;
    for (let high = events.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (events[middle]!.at <= at) low = middle + 1;
      else high = middle;
    }
    events.splice(low, 0, event);
  };

  const live = ends.map((rules) => ({
    state: rules.state,
    rules,
    written: 0,
    offset: 0,
    busyUntil: 0,
    delivered: [] as Extract<StreamOutput, { kind: 'deliver' }>[],
    closed: [] as { code: string; msg: string; at: number }[],
    sentSeqs: new Set<number>(),
    frames: { data: 0, repeated: 0, acks: 0 },
    sends: 0,
    newest: -1,
  }));
  type End = (typeof live)[number];

  const feed = (end: End, input: StreamInput): void => {
    const { state, outputs } = step(end.state, input, now);
    end.state = state;
    assertBounds(state, now);
    for (const output of outputs) act(end, output);
  };

  const act = (end: End, output: StreamOutput): void => {
    if (output.kind === 'transmit') put(end, output.frame);
    else if (output.kind === 'closed') end.closed.push({ code: output.code, msg: output.msg, at: now });
    else if (output.kind === 'writable') schedule(now, () => write(end));
    else read(end, output);
  };

  const read = (end: End, output: Extract<StreamOutput, { kind: 'deliver' }>): void => {
    end.delivered.push(output);
    if (output.channel === 9) return;
    end.busyUntil = Math.max(end.busyUntil, end.rules.readDelay(Math.max(now, end.busyUntil), random));
    schedule(end.busyUntil, () => feed(end, { kind: 'consumed', messages: 1 }));
  };

  const put = (end: End, frame: StreamFrame): void => {
    const from = live.indexOf(end);
    count(end, frame);
    if (rules.loses?.(frame, now, from)) return;
    const place = end.sends++;
    const copies = random() < rules.duplicated ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (random() < rules.lost) continue;
      const late = random() < rules.reordered ? random() * rules.jitter : 0;
      const sentIn = generation;
      schedule(now + rules.delay + late, () => {
        if (sentIn !== generation) return;
        arrived += 1;
        if (place < end.newest) overtaken += 1;
        end.newest = Math.max(end.newest, place);
        feed(live[1 - from]!, { kind: 'frame', frame });
      });
    }
  };

  const count = (end: End, frame: StreamFrame): void => {
    if (frame.t === 'a') end.frames.acks += 1;
    if (frame.t !== 'd') return;
    end.frames.data += 1;
    if (end.sentSeqs.has(frame.q)) end.frames.repeated += 1;
    end.sentSeqs.add(frame.q);
  };

  const write = (end: End): void => {
    for (let next = end.rules.writes[end.written]; next; next = end.rules.writes[end.written]) {
      if (end.state.phase !== 'open') return;
      if (next === 'finish') {
        end.written += 1;
        feed(end, { kind: 'finish' });
        continue;
      }
      const room = writable(end.state, next.channel);
      const rest = next.bytes.subarray(end.offset);
      if (room === 0 || (next.channel === 9 && rest.length > room)) return;
      const last = rest.length <= room;
      end.written += last ? 1 : 0;
      end.offset = last ? 0 : end.offset + room;
      const flags = { ...(last && next.end && { end: true }), ...(next.urgent && { urgent: true }) };
      feed(end, { kind: 'send', channel: next.channel, bytes: rest.subarray(0, room), ...flags });
    }
  };

  for (const cut of rules.cuts ?? []) {
    schedule(cut, () => {
      generation += 1;
      for (const end of live) feed(end, { kind: 'paused' });
    });
    for (const end of live) schedule(cut + (rules.cutFor ?? 0) * random(), () => feed(end, { kind: 'path' }));
  }
  for (const end of live) schedule(0, () => write(end));

  while (live.some((end) => !isOver(end.state))) {
    const wakes = live.map((end) => nextWake(end.state) ?? Infinity);
    const wake = Math.min(...wakes);
    const event = events[0];
    const at = Math.min(wake, event?.at ?? Infinity);
    if (at > until) break;
    now = at;
    if (event && event.at <= wake) {
      events.shift();
      event.run();
    } else {
      feed(live[wakes.indexOf(wake)]!, { kind: 'tick' });
    }
  }
  const [a, b] = live.map(({ delivered, closed, state, frames }) => ({ delivered, closed, state, frames }));
  return { ends: [a!, b!], at: now, overtaken, arrived };
}

/** Throws when a stream holds more than it may, or would wake without end. */
export function assertBounds(state: StreamState, now: number): void {
  const { sender, receiver } = state;
  const slots = receiver.window + CONTROL_RESERVE_MESSAGES;
  const bytes = sender.inFlight.reduce((sum, message) => sum + (message.channel === 9 ? 0 : message.bytes.length), 0);
  const wake = nextWake(state);
  const broken = [
    receiver.early.length + untakenOf(receiver) > slots && 'the receiver holds too much',
    untakenOf(receiver) > receiver.window && 'the application holds too much',
    untakenOf(receiver) < 0 && 'more was taken than delivered',
    receiver.early[0] && receiver.early[0].seq <= receiver.next && 'a message waits whose turn it is',
    sender.inFlight.length > 64 + CONTROL_RESERVE_MESSAGES && 'too many messages are in flight',
    bytes > MAX_UNACKED_BYTES && 'too many bytes are in flight',
    sender.queue.dataBytes > SEND_BUFFER_BYTES && 'the send buffer is too large',
    sender.queue.dataBytes < 0 && 'the send buffer is less than empty',
    sender.queue.pieces.length > SEND_BUFFER_PIECES + SEND_BUFFER_CONTROLS + 13 && 'too many pieces are queued',
    wake !== undefined && wake <= now && 'it wants a tick that it just had',
  ].find((problem) => problem);
  if (broken) throw new Error(`${broken}: ${JSON.stringify({ now, wake, ...summary(state) })}`);
}

function summary({ sender, receiver, phase }: StreamState): object {
  const { next, credit, inFlight } = sender;
  return {
    phase,
    next,
    credit,
    inFlight: inFlight.map(({ seq }) => seq),
    receiver: { ...receiver, early: receiver.early.length },
  };
}
