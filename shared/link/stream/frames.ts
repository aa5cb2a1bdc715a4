/**
 * What the reliable stream puts on the link, and the bounds both ends keep. Bytes are raw here; JSON and base64 are the codec's business.
 */

/** Raw bytes one data message carries at most: with base64 and its envelope it stays under the link's 32,000 bytes. */
export const MAX_MESSAGE_BYTES = 23_400;
/** Bytes of one control message, which has no data credit to hold it back. */
export const MAX_CONTROL_BYTES = 4_096;
/** Messages a receiver grants beyond what its application took (750 kB): in base64 they are just under what a gateway holds for a slow reader. */
export const DEFAULT_WINDOW_MESSAGES = 32;
/** The largest window an end may ask for, and the most a peer may grant. */
export const MAX_WINDOW_MESSAGES = 64;
/** Control messages that may go out beyond the data credit, so that a signal passes a reader that has stopped. */
export const CONTROL_RESERVE_MESSAGES = 8;
/** Data bytes a sender keeps in flight at most, whatever credit it has. */
export const MAX_UNACKED_BYTES = 1_048_576;
/** Selective ranges in one acknowledgement. */
export const MAX_SACK_RANGES = 16;
/** Selective ranges that may ride on a data message; more would not fit its envelope, so they go in a frame of their own. */
export const MAX_PIGGYBACK_RANGES = 4;

/** The channels of a stream. `control` keeps message boundaries; the end of `control` is the end of the whole direction. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, control: 9 } as const;
/** Channels are numbered 0 to 9. */
export const MAX_CHANNEL = 9;

/** Messages `from` up to, not including, `to` have arrived. */
export type SackRange = readonly [from: number, to: number];

/** Acknowledgement: all below `a` arrived, and the ranges `k`; messages below `w` may be sent. */
export interface Ack {
  readonly a: number;
  readonly k: readonly SackRange[];
  readonly w: number;
}

/** Message `q` of a direction, on channel `c`; `f` ends the channel. An acknowledgement may ride on it, its `k` left out when empty. */
export interface DataFrame {
  readonly t: 'd';
  readonly s: string;
  readonly q: number;
  readonly c: number;
  readonly b: Uint8Array;
  readonly f?: true | undefined;
  readonly a?: number | undefined;
  readonly k?: readonly SackRange[] | undefined;
  readonly w?: number | undefined;
}

export interface AckFrame extends Ack {
  readonly t: 'a';
  readonly s: string;
}

export interface ResetFrame {
  readonly t: 'rst';
  readonly s: string;
  readonly code: string;
  readonly msg: string;
}

export type StreamFrame = DataFrame | AckFrame | ResetFrame;

/** One message of a direction, as both ends keep it. */
export interface Message {
  readonly seq: number;
  readonly channel: number;
  readonly bytes: Uint8Array;
  readonly end: boolean;
}

/** The message a data frame carries. */
export function messageOf(frame: DataFrame): Message {
  return { seq: frame.q, channel: frame.c, bytes: frame.b, end: frame.f === true };
}

/** The acknowledgement a frame carries, if any. */
export function ackOf(frame: DataFrame | AckFrame): Ack | undefined {
  if (frame.a === undefined || frame.w === undefined) return undefined;
  return { a: frame.a, k: frame.k ?? [], w: frame.w };
}

/** True when the acknowledgement says that message `seq` arrived. */
export function covers(ack: Ack, seq: number): boolean {
  return seq < ack.a || ack.k.some(([from, to]) => from <= seq && seq < to);
}

/** Why no honest peer could have sent this frame, whatever the state; undefined for a well-formed one. */
export function malformed(frame: DataFrame | AckFrame): string | undefined {
  if (frame.t === 'd') {
    if (!isCount(frame.q)) return `sequence number ${frame.q} is not a count`;
    if (!isCount(frame.c) || frame.c > MAX_CHANNEL) return `channel ${frame.c} does not exist`;
    const limit = frame.c === CHANNEL.control ? MAX_CONTROL_BYTES : MAX_MESSAGE_BYTES;
    if (frame.b.length > limit) return `a message of ${frame.b.length} bytes exceeds ${limit}`;
  }
  const ack = ackOf(frame);
  return ack && malformedAck(ack);
}

function malformedAck({ a, k, w }: Ack): string | undefined {
  if (!isCount(a) || !isCount(w)) return `acknowledgement of ${a} with credit ${w} is not a pair of counts`;
  if (w < a || w > a + MAX_WINDOW_MESSAGES) return `credit ${w} is impossible behind acknowledgement ${a}`;
  if (k.length > MAX_SACK_RANGES) return `${k.length} selective ranges exceed ${MAX_SACK_RANGES}`;
  const wrong = k.find(([from, to]) => !isCount(from) || !isCount(to) || from < a || from >= to);
  return wrong && `selective range ${wrong.join('..')} is impossible behind acknowledgement ${a}`;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
