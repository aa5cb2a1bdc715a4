/**
 * The sending half: a bounded queue of what is to go, the messages in flight, and when each is sent again. Data waits for the peer's credit;
 * control messages may pass it by {@link CONTROL_RESERVE_MESSAGES}.
 */
import {
  CHANNEL,
  CONTROL_RESERVE_MESSAGES,
  covers,
  MAX_MESSAGE_BYTES,
  MAX_UNACKED_BYTES,
  type Ack,
  type Message,
} from './frames.ts';
import type { SendQueue } from './queue.ts';
import { EMPTY_QUEUE, firstOf, withoutFirst } from './queue.ts';
import { measured, overtakenTimeoutOf, progressed, RTO_MAX_MS, timedOut, timeoutOf, UNKNOWN_RTT } from './rtt.ts';
import type { Rtt } from './rtt.ts';

/** A message counts as lost early only when so many that were sent after it have arrived. */
export const OVERTAKEN_MESSAGES = 3;

/** A message on its way: when it was last sent, its place among all transmissions, and how many later ones arrived before it. */
interface InFlight extends Message {
  readonly sentAt: number;
  readonly turn: number;
  readonly again: boolean;
  readonly overtaken: number;
}

export interface Sender {
  readonly queue: SendQueue;
  /** Neither acknowledged nor selectively acknowledged, in order. What was acknowledged selectively is never taken back. */
  readonly inFlight: readonly InFlight[];
  readonly next: number;
  readonly credit: number;
  readonly turns: number;
  readonly rtt: Rtt;
  /** When the peer last moved this direction on, or when waiting for it began. */
  readonly progressAt: number;
  /** While data waits for credit and nothing is in flight: when to ask again, and how often that was done. */
  readonly probe: { readonly at: number; readonly count: number } | undefined;
}

/** A sender that may send `credit` messages at once. */
export function newSender(credit: number): Sender {
  return {
    queue: EMPTY_QUEUE,
    inFlight: [],
    next: 0,
    credit,
    turns: 0,
    rtt: UNKNOWN_RTT,
    progressAt: 0,
    probe: undefined,
  };
}

/** A sender, and the messages to put on the link now. */
export interface Sent {
  readonly sender: Sender;
  readonly messages: readonly Message[];
}

/** Takes in what the peer acknowledged; undefined when it acknowledged what was never sent. */
export function acknowledge(sender: Sender, ack: Ack, now: number): Sender | undefined {
  if (ack.a > sender.next || ack.k.some(([, to]) => to > sender.next)) return undefined;
  const fresh = sender.inFlight.filter((message) => covers(ack, message.seq));
  const credit = Math.max(sender.credit, ack.w);
  const idle = sender.inFlight.length === 0;
  const progressAt = fresh.length > 0 || credit > sender.credit || idle ? now : sender.progressAt;
  if (fresh.length === 0) return { ...sender, credit, progressAt };

  const once = fresh.filter((message) => !message.again);
  const perRoundTrip = sender.inFlight.length / 2;
  const rtt = once.reduce((rtt, { sentAt }) => measured(rtt, Math.max(0, now - sentAt), perRoundTrip), sender.rtt);
  const inFlight = sender.inFlight
    .filter((message) => !covers(ack, message.seq))
    .map((message) => ({
      ...message,
      overtaken: message.overtaken + once.filter(({ turn }) => turn > message.turn).length,
    }));
  return { ...sender, inFlight, credit, progressAt, rtt: progressed(rtt) };
}

/** All that is due at `now`: messages to send again, new ones as credit allows, or a probe. */
export function due(sender: Sender, now: number): Sent {
  const again = sendAgain(sender, now);
  const fresh = sendNew(again.sender, now);
  const probe = askForCredit(fresh.sender, now);
  return { sender: probe.sender, messages: [...again.messages, ...fresh.messages, ...probe.messages] };
}

/** Sends all in flight again, as for a new path of which nothing is known. */
export function restart(sender: Sender, now: number): Sent {
  const fresh = { ...sender, rtt: UNKNOWN_RTT, progressAt: now, probe: undefined };
  return resend(fresh, () => true, now);
}

function sendAgain(sender: Sender, now: number): Sent {
  if (sender.inFlight.every((message) => againAt(message, sender.rtt) > now)) return { sender, messages: [] };
  const late = sender.inFlight.some((message) => message.sentAt + timeoutOf(sender.rtt) <= now);
  const sent = resend(sender, (message) => againAt(message, sender.rtt) <= now, now);
  return late ? { ...sent, sender: { ...sent.sender, rtt: timedOut(sent.sender.rtt) } } : sent;
}

function againAt(message: InFlight, rtt: Rtt): number {
  const timeout = timeoutOf(rtt);
  return (
    message.sentAt + (message.overtaken >= OVERTAKEN_MESSAGES ? Math.min(timeout, overtakenTimeoutOf(rtt)) : timeout)
  );
}

function resend(sender: Sender, chosen: (message: InFlight) => boolean, now: number): Sent {
  const messages: Message[] = [];
  let { turns } = sender;
  const inFlight = sender.inFlight.map((message) => {
    if (!chosen(message)) return message;
    messages.push(message);
    return { ...message, sentAt: now, turn: turns++, again: true, overtaken: 0 };
  });
  return { sender: { ...sender, inFlight, turns }, messages };
}

function sendNew(sender: Sender, now: number): Sent {
  const messages: Message[] = [];
  const inFlight = [...sender.inFlight];
  let { queue, next, turns } = sender;
  let room = MAX_UNACKED_BYTES - inFlight.reduce((sum, { bytes }) => sum + bytes.length, 0);
  for (let piece = firstOf(queue); piece; piece = firstOf(queue)) {
    const urgent = piece.channel === CHANNEL.control;
    if (next >= sender.credit + (urgent ? CONTROL_RESERVE_MESSAGES : 0)) break;
    if (!urgent && room < MAX_MESSAGE_BYTES) break;
    const message = { seq: next++, channel: piece.channel, bytes: piece.bytes, end: piece.end };
    messages.push(message);
    inFlight.push({ ...message, sentAt: now, turn: turns++, again: false, overtaken: 0 });
    room -= piece.bytes.length;
    queue = withoutFirst(queue, piece);
  }
  if (messages.length === 0) return { sender, messages };
  const progressAt = sender.inFlight.length === 0 ? now : sender.progressAt;
  return { sender: { ...sender, queue, inFlight, next, turns, progressAt }, messages };
}

/**
 * The acknowledgement that opened the credit may be lost. A duplicate of the last message, empty, makes the peer repeat it. There is always a last
 * message: the first credit is never zero.
 */
function askForCredit(sender: Sender, now: number): Sent {
  const waiting = sender.queue.pieces.length > 0 && sender.inFlight.length === 0;
  if (!waiting) return { sender: sender.probe ? { ...sender, probe: undefined } : sender, messages: [] };
  const { probe } = sender;
  if (!probe) {
    return {
      sender: { ...sender, probe: { at: now + timeoutOf(sender.rtt), count: 0 }, progressAt: now },
      messages: [],
    };
  }
  if (probe.at > now) return { sender, messages: [] };
  const count = probe.count + 1;
  const at = now + Math.min(RTO_MAX_MS, timeoutOf(sender.rtt) * 2 ** count);
  const message = { seq: sender.next - 1, channel: CHANNEL.stdin, bytes: new Uint8Array(), end: false };
  return { sender: { ...sender, probe: { at, count } }, messages: [message] };
}

/** True while the peer owes something: an acknowledgement or credit. */
export function isWaiting(sender: Sender): boolean {
  return sender.inFlight.length > 0 || sender.probe !== undefined;
}

/** When {@link due} has something to do again, if nothing happens before. */
export function dueAt(sender: Sender): number {
  return sender.inFlight.reduce(
    (at, message) => Math.min(at, againAt(message, sender.rtt)),
    sender.probe?.at ?? Infinity,
  );
}
