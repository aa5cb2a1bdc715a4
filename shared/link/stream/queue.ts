/** What an application has given and the link has not taken yet: bounded pieces, each at most one message. */
import { FairleadError } from '#shared/errors.ts';
import { CHANNEL, MAX_CHANNEL, MAX_CONTROL_BYTES, MAX_MESSAGE_BYTES } from './frames.ts';

/** Data bytes an application may have queued and not yet in flight. Small, since an interrupt's effect is seen only behind them. */
export const SEND_BUFFER_BYTES = 262_144;
/** Pieces queued at most, so that a queue of single bytes is bounded too. */
export const SEND_BUFFER_PIECES = 1_024;
/** Control messages queued at most. */
export const SEND_BUFFER_CONTROLS = 32;

export interface Piece {
  readonly channel: number;
  readonly bytes: Uint8Array;
  readonly end: boolean;
}

export interface SendQueue {
  readonly pieces: readonly Piece[];
  /** How many of the pieces, at the front, are urgent. */
  readonly urgent: number;
  readonly dataBytes: number;
  readonly controls: number;
  /** Bit set of the channels that were ended. */
  readonly ended: number;
}

export const EMPTY_QUEUE: SendQueue = { pieces: [], urgent: 0, dataBytes: 0, controls: 0, ended: 0 };

/** What an application asks to send. `urgent` (control only) overtakes the data that waits, but nothing that was sent. */
export interface Sending {
  readonly channel: number;
  readonly bytes: Uint8Array;
  readonly end?: boolean;
  readonly urgent?: boolean;
}

/** Bytes that may be given at once on `channel` now; 0 when its buffer is full. */
export function roomFor(queue: SendQueue, channel: number): number {
  if (channel === CHANNEL.control) return queue.controls < SEND_BUFFER_CONTROLS ? MAX_CONTROL_BYTES : 0;
  return queue.pieces.length < SEND_BUFFER_PIECES ? Math.max(0, SEND_BUFFER_BYTES - queue.dataBytes) : 0;
}

/** True once {@link finish} was called. */
export function isFinished(queue: SendQueue): boolean {
  return (queue.ended & (1 << CHANNEL.control)) !== 0;
}

/** Queues a copy of the bytes. @throws FairleadError `internal` when the caller breaks the rules: no room, an ended channel, ... */
export function enqueue(queue: SendQueue, sending: Sending): SendQueue {
  const { channel, bytes, end = false, urgent = false } = sending;
  check(queue, sending);
  if (channel === CHANNEL.control) {
    const piece = { channel, bytes: new Uint8Array(bytes), end: false };
    const pieces = queue.pieces.toSpliced(urgent ? queue.urgent : queue.pieces.length, 0, piece);
    return { ...queue, pieces, urgent: queue.urgent + (urgent ? 1 : 0), controls: queue.controls + 1 };
  }
  const count = Math.max(end ? 1 : 0, Math.ceil(bytes.length / MAX_MESSAGE_BYTES));
  const added = Array.from({ length: count }, (_, index) => ({
    channel,
    bytes: new Uint8Array(bytes.subarray(index * MAX_MESSAGE_BYTES, (index + 1) * MAX_MESSAGE_BYTES)),
    end: end && index === count - 1,
  }));
  const ended = end ? queue.ended | (1 << channel) : queue.ended;
  return { ...queue, pieces: [...queue.pieces, ...added], dataBytes: queue.dataBytes + bytes.length, ended };
}

/** Queues the end of the whole direction. @throws FairleadError `internal` when it was ended before. */
export function finish(queue: SendQueue): SendQueue {
  if (isFinished(queue)) throw misuse('its direction has ended already');
  const piece = { channel: CHANNEL.control, bytes: new Uint8Array(), end: true };
  return {
    ...queue,
    pieces: [...queue.pieces, piece],
    controls: queue.controls + 1,
    ended: queue.ended | (1 << CHANNEL.control),
  };
}

/** The next message: neighbours of one data channel go together, control messages alone. */
export function firstOf(queue: SendQueue): Piece | undefined {
  const [first] = queue.pieces;
  if (!first) return undefined;
  const count = together(queue.pieces);
  if (count === 1) return first;
  const parts = queue.pieces.slice(0, count);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.length;
  }
  return { channel: first.channel, bytes, end: parts.some((part) => part.end) };
}

/** The queue after `first`, which {@link firstOf} gave, was sent. */
export function withoutFirst(queue: SendQueue, first: Piece): SendQueue {
  const pieces = queue.pieces.slice(together(queue.pieces));
  if (first.channel !== CHANNEL.control) return { ...queue, pieces, dataBytes: queue.dataBytes - first.bytes.length };
  return { ...queue, pieces, urgent: Math.max(0, queue.urgent - 1), controls: queue.controls - 1 };
}

/** How many pieces at the front fit one message. */
function together(pieces: readonly Piece[]): number {
  const [first] = pieces;
  if (!first || first.channel === CHANNEL.control) return 1;
  let length = first.bytes.length;
  let count = 1;
  for (let last = first; !last.end; count += 1) {
    const piece = pieces[count];
    if (!piece || piece.channel !== first.channel || length + piece.bytes.length > MAX_MESSAGE_BYTES) break;
    length += piece.bytes.length;
    last = piece;
  }
  return count;
}

function check(queue: SendQueue, { channel, bytes, end, urgent }: Sending): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > MAX_CHANNEL) throw misuse(`it has no channel ${channel}`);
  const control = channel === CHANNEL.control;
  if (control && end) throw misuse('its control channel ends by "finish"');
  if (urgent && !control) throw misuse('only its control channel can be urgent');
  if (isFinished(queue)) throw misuse('its direction has ended');
  if (queue.ended & (1 << channel)) throw misuse(`its channel ${channel} has ended`);
  const room = roomFor(queue, channel);
  if (bytes.length > room || (control && room === 0)) {
    throw misuse(`${bytes.length} bytes exceed the ${room} that its buffer has left`);
  }
}

/** The error of a caller that does not follow the stream's rules. */
export function misuse(why: string): FairleadError {
  return new FairleadError('internal', `A stream was misused: ${why}. Please report this as a bug of Fairlead.`);
}
