/**
 * The receiving half: puts messages in order, grants credit, and decides when to acknowledge. What it and its application hold is never more than
 * `window` messages and {@link CONTROL_RESERVE_MESSAGES} control messages, whatever the peer sends.
 */
import {
  CHANNEL,
  CONTROL_RESERVE_MESSAGES,
  MAX_SACK_RANGES,
  type Ack,
  type Message,
  type SackRange,
} from './frames.ts';

/** An acknowledgement goes out at this many messages ... */
export const ACK_EVERY_MESSAGES = 4;
/** ... or this long after the first of them. */
export const ACK_DELAY_MS = 40;

/** `next` is the first message not yet delivered; `early` those that came before their turn, in order. */
export interface Receiver {
  readonly window: number;
  readonly next: number;
  /** Messages the application took; control messages count as taken when they are delivered. */
  readonly taken: number;
  readonly early: readonly Message[];
  /** Bit set of the channels the peer ended. */
  readonly ended: number;
  readonly finished: boolean;
  /** The credit last told to the peer. */
  readonly told: number;
  /** Messages that came since the last acknowledgement, duplicates included. */
  readonly unacked: number;
  readonly ackAt: number;
}

/** A receiver that has got nothing yet; the peer knows of `window` messages of credit from the open. */
export function newReceiver(window: number): Receiver {
  return {
    window,
    next: 0,
    taken: 0,
    early: [],
    ended: 0,
    finished: false,
    told: window,
    unacked: 0,
    ackAt: Infinity,
  };
}

/** First sequence number the peer may not send yet. It never goes back. */
function creditOf(receiver: Receiver): number {
  return receiver.taken + receiver.window;
}

export interface Received {
  readonly receiver: Receiver;
  readonly delivered: readonly Message[];
  /** Set when the peer broke the protocol: it went on after an end. */
  readonly violation?: string;
}

/** Takes a well-formed message. Duplicates are only acknowledged again; what lies beyond the credit is dropped. */
export function receive(receiver: Receiver, message: Message, now: number): Received {
  const { seq, channel } = message;
  if (seq < receiver.next || receiver.early.some((early) => early.seq === seq)) {
    return { receiver: ackSoon(receiver, now), delivered: [] };
  }
  if (receiver.finished)
    return { receiver, delivered: [], violation: 'a message came behind the end of its direction' };
  const reserve = channel === CHANNEL.control ? CONTROL_RESERVE_MESSAGES : 0;
  if (seq >= creditOf(receiver) + reserve) return { receiver, delivered: [] };

  const place = receiver.early.findIndex((early) => early.seq > seq);
  const early = receiver.early.toSpliced(place === -1 ? receiver.early.length : place, 0, message);
  return deliver(ackSoon({ ...receiver, early }, now), now);
}

/** Delivers all whose turn it is. */
function deliver(receiver: Receiver, now: number): Received {
  const gap = receiver.early.findIndex((message, index) => message.seq !== receiver.next + index);
  const delivered = receiver.early.slice(0, gap === -1 ? receiver.early.length : gap);
  let { ended, finished, taken } = receiver;
  for (const { channel, end } of delivered) {
    if (finished || ended & (1 << channel)) {
      return { receiver, delivered: [], violation: `a message came behind the end of channel ${channel}` };
    }
    if (channel === CHANNEL.control) taken += 1;
    if (end) ended |= 1 << channel;
    if (end && channel === CHANNEL.control) finished = true;
  }
  const early = receiver.early.slice(delivered.length);
  if (finished && early.length > 0) {
    return { receiver, delivered: [], violation: 'a message came behind the end of its direction' };
  }
  const next = receiver.next + delivered.length;
  const ackAt = finished ? now : receiver.ackAt;
  return { receiver: { ...receiver, early, next, taken, ended, finished, ackAt }, delivered };
}

/** Messages delivered that the application has yet to take. */
export function untakenOf(receiver: Receiver): number {
  return receiver.next - receiver.taken;
}

/** The application took `messages` delivered data messages: credit opens, and the peer is told before it runs dry. */
export function take(receiver: Receiver, messages: number, now: number): Receiver {
  const after = { ...receiver, taken: receiver.taken + messages };
  const half = Math.ceil(receiver.window / 2);
  if (creditOf(after) - after.told >= half) return ackBy(after, now);
  return after.told - after.next < half ? ackBy(after, now + ACK_DELAY_MS) : after;
}

/** A message came, new or not: it wants an acknowledgement, since the last one may be the one that was lost. */
function ackSoon(receiver: Receiver, now: number): Receiver {
  const unacked = receiver.unacked + 1;
  const enough = Math.min(ACK_EVERY_MESSAGES, Math.ceil(receiver.window / 2));
  return ackBy({ ...receiver, unacked }, unacked >= enough ? now : now + ACK_DELAY_MS);
}

/** Sees to it that an acknowledgement goes out at `at` or before. */
export function ackBy(receiver: Receiver, at: number): Receiver {
  return receiver.ackAt <= at ? receiver : { ...receiver, ackAt: at };
}

/** What to tell the peer now. */
export function ackFrom(receiver: Receiver): Ack {
  return { a: receiver.next, k: sackRanges(receiver.early), w: creditOf(receiver) };
}

/** The receiver after {@link ackFrom} was put on the link. */
export function acked(receiver: Receiver): Receiver {
  return { ...receiver, told: creditOf(receiver), unacked: 0, ackAt: Infinity };
}

/** The lowest runs of early messages; those above the sixteenth are told once the gaps below close. */
function sackRanges(early: readonly Message[]): readonly SackRange[] {
  const ranges: [number, number][] = [];
  for (const { seq } of early) {
    const last = ranges.at(-1);
    if (last && last[1] === seq) last[1] = seq + 1;
    else if (ranges.length === MAX_SACK_RANGES) break;
    else ranges.push([seq, seq + 1]);
  }
  return ranges;
}
