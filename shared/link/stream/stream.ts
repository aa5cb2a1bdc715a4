/**
 * The reliable stream: an ordered, flow-controlled, bidirectional channel over a link that loses, repeats and reorders. Pure: (state, input, now)
 * → (state, outputs); `now` is a monotonic clock in ms. Both ends keep these rules:
 *
 * - A direction is one sequence of messages counted from 0, on channels 0 stdin, 1 stdout, 2 stderr, 9 control. Order holds across channels. A
 *   data channel is a byte stream and ends with its `end`; a control message arrives as it was sent; the end of control (`finish`) ends the direction.
 * - Credit is counted in messages: the receiver grants `taken + window`, the first grant being the window told at open. Control may pass it by 8.
 * - An acknowledgement is cumulative, selective (16 ranges) and carries the credit. It goes out at 4 messages or 40 ms; a duplicate counts.
 *   A receiver never takes back what it acknowledged.
 * - A message is sent again after the timeout of RFC 6298, doubled until progress; earlier when 3 later ones arrived and it is later than nearly
 *   every round trip. Data without credit and with nothing in flight asks with an empty duplicate of the last message.
 * - What an honest peer cannot send resets the stream (`protocol`); what lies beyond the credit is dropped.
 *
 * | phase     | is left by                                                        | to        | with                     |
 * |-----------|-------------------------------------------------------------------|-----------|--------------------------|
 * | open      | own finish acknowledged and the peer's finish delivered            | lingering | closed `done`            |
 * | open      | reset, either side; a broken protocol; 120 s of waiting in vain    | over      | closed, and rst if ours  |
 * | lingering | 15 s (repeating acknowledgements that may be lost); reset          | over      | nothing                  |
 * | over      |                                                                   |           | every input is ignored   |
 *
 * A paused stream takes in everything and sends nothing; its clocks stand still until `path`, which repeats all that the peer may have missed.
 */
import {
  ackOf,
  CHANNEL,
  DEFAULT_WINDOW_MESSAGES,
  malformed,
  MAX_PIGGYBACK_RANGES,
  MAX_WINDOW_MESSAGES,
  messageOf,
  type DataFrame,
  type Message,
  type StreamFrame,
} from './frames.ts';
import { enqueue, finish, isFinished, misuse, roomFor, SEND_BUFFER_BYTES, type Sending } from './queue.ts';
import { ackBy, acked, ackFrom, newReceiver, receive, take, untakenOf, type Receiver } from './receiver.ts';
import { acknowledge, due, dueAt, isWaiting, newSender, restart, type Sender } from './sender.ts';

export { CHANNEL, MAX_CONTROL_BYTES, MAX_MESSAGE_BYTES } from './frames.ts';
export type { StreamFrame } from './frames.ts';
export { SEND_BUFFER_BYTES } from './queue.ts';

/** Without progress of the peer for this long, a stream that waits for it is reset with `stalled`. */
export const STALL_MS = 120_000;
/** How long a stream that is done repeats acknowledgements: six attempts of a peer whose last acknowledgement was lost. */
export const LINGER_MS = 15_000;
/** `writable` is told when so much of the buffer is free again. */
export const WRITABLE_BYTES = SEND_BUFFER_BYTES / 2;

export interface StreamState {
  readonly id: string;
  readonly phase: 'open' | 'lingering' | 'over';
  readonly paused: boolean;
  readonly stallMs: number;
  readonly lingerUntil: number;
  readonly sender: Sender;
  readonly receiver: Receiver;
}

/** `window`: messages this end takes unread; `peerWindow`: what the peer said of its own. Both 1 to 64, default 32. */
export interface StreamOptions {
  readonly window?: number;
  readonly peerWindow?: number;
  readonly stallMs?: number;
}

export type StreamInput =
  /** Bytes to send, at most `writable(state, channel)`; they are copied. */
  | ({ readonly kind: 'send' } & Sending)
  /** Nothing more will be sent, on any channel. */
  | { readonly kind: 'finish' }
  /** The application has taken this many `deliver` outputs of data channels (each counts, also an empty one that only ends). */
  | { readonly kind: 'consumed'; readonly messages: number }
  | { readonly kind: 'frame'; readonly frame: StreamFrame }
  | { readonly kind: 'tick' }
  /** Say that this end is there: an acknowledgement, also of nothing new. */
  | { readonly kind: 'keepalive' }
  /** The peer cannot be reached: send nothing until `path`. How long that may last is the caller's decision. */
  | { readonly kind: 'paused' }
  /** There is a new way to the peer. */
  | { readonly kind: 'path' }
  | { readonly kind: 'reset'; readonly code: string; readonly msg: string };

export type StreamOutput =
  | { readonly kind: 'transmit'; readonly frame: StreamFrame }
  | { readonly kind: 'deliver'; readonly channel: number; readonly bytes: Uint8Array; readonly end: boolean }
  /** Buffer space came free; send up to `writable(state)`. */
  | { readonly kind: 'writable' }
  /** Exactly once. After `done` the state is still to be stepped until {@link isOver}. */
  | { readonly kind: 'closed'; readonly code: string; readonly msg: string };

export interface Step {
  readonly state: StreamState;
  readonly outputs: readonly StreamOutput[];
}

/** A stream whose two ends agreed on `id` and told each other their windows. @throws FairleadError `internal` for a window out of bounds. */
export function open(id: string, options: StreamOptions = {}): StreamState {
  const { window = DEFAULT_WINDOW_MESSAGES, peerWindow = DEFAULT_WINDOW_MESSAGES, stallMs = STALL_MS } = options;
  for (const messages of [window, peerWindow]) {
    if (!Number.isInteger(messages) || messages < 1 || messages > MAX_WINDOW_MESSAGES) {
      throw misuse(`a window of ${messages} messages is not between 1 and ${MAX_WINDOW_MESSAGES}`);
    }
  }
  const ends = { sender: newSender(peerWindow), receiver: newReceiver(window) };
  return { id, phase: 'open', paused: false, stallMs, lingerUntil: Infinity, ...ends };
}

/** Bytes that may be given with the next `send` on `channel`: all data channels share one buffer, control has its own. */
export function writable(state: StreamState, channel: number = CHANNEL.stdin): number {
  return state.phase === 'open' ? roomFor(state.sender.queue, channel) : 0;
}

/** True once the state may be forgotten. */
export function isOver(state: StreamState): boolean {
  return state.phase === 'over';
}

/** When the stream wants its next `tick`, if nothing else happens before; undefined for never. Ask after each step. */
export function nextWake(state: StreamState): number | undefined {
  if (state.phase === 'over' || state.paused) return undefined;
  const { sender, receiver } = state;
  const stalled = isWaiting(sender) ? sender.progressAt + state.stallMs : Infinity;
  const at = Math.min(receiver.ackAt, dueAt(sender), stalled, state.lingerUntil);
  return at === Infinity ? undefined : at;
}

/** One step. @throws FairleadError `internal` only for a caller's mistake, never for what a peer sent. */
export function step(state: StreamState, input: StreamInput, now: number): Step {
  if (state.phase === 'over') return { state, outputs: [] };
  const applied = apply(state, input, now);
  if (applied.state.phase === 'over') return applied;
  const settled = settle(applied.state, now);
  return { state: settled.state, outputs: [...applied.outputs, ...settled.outputs, ...freed(state, settled.state)] };
}

function apply(state: StreamState, input: StreamInput, now: number): Step {
  const { sender, receiver } = state;
  switch (input.kind) {
    case 'send':
      return quiet({ ...state, sender: { ...sender, queue: enqueue(sender.queue, input) } });
    case 'finish':
      return quiet({ ...state, sender: { ...sender, queue: finish(sender.queue) } });
    case 'consumed':
      return quiet({ ...state, receiver: take(receiver, checkedTaken(receiver, input.messages), now) });
    case 'frame':
      return applyFrame(state, input.frame, now);
    case 'paused':
      return quiet({ ...state, paused: true });
    case 'keepalive':
      return quiet({ ...state, receiver: ackBy(state.receiver, now) });
    case 'path':
      return onPath(state, now);
    case 'reset':
      return abort(state, input.code, input.msg);
    case 'tick':
      break;
  }
  return quiet(state);
}

function applyFrame(state: StreamState, frame: StreamFrame, now: number): Step {
  if (frame.s !== state.id) return quiet(state);
  if (frame.t === 'rst') {
    // Only this end can know that all is done, so a peer cannot say it.
    return close({ ...state, phase: 'over' }, state, frame.code === 'done' ? 'protocol' : frame.code, frame.msg);
  }
  const wrong = malformed(frame);
  if (wrong) return abort(state, 'protocol', wrong);
  const ack = ackOf(frame);
  const sender = ack ? acknowledge(state.sender, ack, now) : state.sender;
  if (!sender) return abort(state, 'protocol', 'what was never sent has been acknowledged');
  if (frame.t === 'a') return quiet({ ...state, sender });
  const { receiver, delivered, violation } = receive(state.receiver, messageOf(frame), now);
  if (violation) return abort(state, 'protocol', violation);
  const outputs = delivered.map(({ channel, bytes, end }) => ({ kind: 'deliver', channel, bytes, end }) as const);
  return { state: { ...state, sender, receiver }, outputs };
}

function onPath(state: StreamState, now: number): Step {
  const { sender, messages } = restart(state.sender, now);
  const lingerUntil = state.phase === 'lingering' ? now + LINGER_MS : state.lingerUntil;
  const receiver = ackBy(state.receiver, now);
  return transmit({ ...state, paused: false, lingerUntil, sender, receiver }, messages);
}

/** What time and credit ask for, after every input alike. */
function settle(state: StreamState, now: number): Step {
  if (state.paused) return finishIfDone(state, now);
  if (isWaiting(state.sender) && state.sender.progressAt + state.stallMs <= now) {
    return abort(state, 'stalled', `the peer made no progress for ${state.stallMs / 1000} s`);
  }
  const { sender, messages } = due(state.sender, now);
  const sent = transmit({ ...state, sender }, messages);
  const told = sent.state.receiver.ackAt <= now ? transmitAck(sent.state) : quiet(sent.state);
  const done = finishIfDone(told.state, now);
  return { state: done.state, outputs: [...sent.outputs, ...told.outputs, ...done.outputs] };
}

function finishIfDone(state: StreamState, now: number): Step {
  if (state.lingerUntil <= now && !state.paused) return quiet({ ...state, phase: 'over' });
  const { sender, receiver } = state;
  const sentAll = isFinished(sender.queue) && sender.queue.pieces.length === 0 && sender.inFlight.length === 0;
  if (state.phase !== 'open' || !sentAll || !receiver.finished) return quiet(state);
  return close(
    { ...state, phase: 'lingering', lingerUntil: now + LINGER_MS },
    state,
    'done',
    'both ends have finished',
  );
}

/** Ends the stream from this side. The peer is told if it can be; if that is lost, its next frame finds no stream. */
function abort(state: StreamState, code: string, msg: string): Step {
  const { state: after, outputs } = close({ ...state, phase: 'over' }, state, code, msg);
  if (state.paused || state.phase !== 'open') return { state: after, outputs };
  return { state: after, outputs: [{ kind: 'transmit', frame: { t: 'rst', s: state.id, code, msg } }, ...outputs] };
}

/** Says `closed`, unless `before` had said it. */
function close(after: StreamState, before: StreamState, code: string, msg: string): Step {
  return { state: after, outputs: before.phase === 'open' ? [{ kind: 'closed', code, msg }] : [] };
}

function transmit(state: StreamState, messages: readonly Message[]): Step {
  let { receiver } = state;
  const outputs = messages.map((message): StreamOutput => {
    const ack = ackFrom(receiver);
    if (receiver.ackAt === Infinity || ack.k.length > MAX_PIGGYBACK_RANGES) {
      return { kind: 'transmit', frame: dataFrame(state.id, message) };
    }
    receiver = acked(receiver);
    const { a, w, k } = ack;
    return { kind: 'transmit', frame: { ...dataFrame(state.id, message), a, w, ...(k.length > 0 && { k }) } };
  });
  return { state: { ...state, receiver }, outputs };
}

function dataFrame(s: string, { seq, channel, bytes, end }: Message): DataFrame {
  return { t: 'd', s, q: seq, c: channel, b: bytes, ...(end && { f: true }) };
}

function transmitAck(state: StreamState): Step {
  const frame = { t: 'a', s: state.id, ...ackFrom(state.receiver) } as const;
  return { state: { ...state, receiver: acked(state.receiver) }, outputs: [{ kind: 'transmit', frame }] };
}

function freed(before: StreamState, after: StreamState): readonly StreamOutput[] {
  const room = writable(after);
  const data = room > writable(before) && room >= WRITABLE_BYTES;
  const control = writable(before, CHANNEL.control) === 0 && writable(after, CHANNEL.control) > 0;
  return data || control ? [{ kind: 'writable' }] : [];
}

function checkedTaken(receiver: Receiver, messages: number): number {
  const untaken = untakenOf(receiver);
  if (Number.isInteger(messages) && messages > 0 && messages <= untaken) return messages;
  throw misuse(`${messages} messages cannot be consumed, ${untaken} were delivered and are not yet`);
}

function quiet(state: StreamState): Step {
  return { state, outputs: [] };
}
