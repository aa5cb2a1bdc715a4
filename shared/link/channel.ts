import { FairleadError, messageOf } from '../errors.ts';
import type { StreamWireFrame } from './frames.ts';
import { STREAM_GRACE_MS, STREAM_KEEPALIVE_MS } from './limits.ts';
import {
  CHANNEL,
  isOver,
  nextWake,
  open,
  STALL_MS,
  step,
  writable,
  type StreamFrame,
  type StreamInput,
  type StreamOptions,
  type StreamOutput,
  type StreamState,
} from './stream/stream.ts';

/**
 * One end of a stream, alive: the pure state machine of stream/, bound to a connection by a ticket, driven by an injected clock and scheduler.
 * Host and client use the same class; what they put on it is in session.ts.
 */

/** After `gone`, how long until the peer is tried again (`gone` may be old news: the link keeps no order). */
export const GONE_PROBE_MS = 5_000;

/** What a channel needs of the world. `schedule` runs `task` once after `ms` and returns its cancellation. */
export interface ChannelWorld {
  /** A monotonic clock, milliseconds. */
  now(): number;
  schedule(ms: number, task: () => void): () => void;
}

/** Puts a frame on the connection the ticket was sealed for. What a closed connection swallows is sent again later. */
export type SendFrame = (frame: StreamWireFrame) => void;

/** What an application is told. All calls come one at a time. */
export interface ChannelListener {
  /**
   * Bytes of a data channel, or with `end` its end (possibly with bytes). Until a returned promise resolves they count against the
   * peer's credit: that is the back-pressure. A rejection resets the stream.
   */
  data(channel: number, bytes: Uint8Array, end: boolean): void | Promise<void>;
  /** One whole message of the control channel. Not called for its end, see `finished`. */
  control(bytes: Uint8Array): void;
  /** The peer will send nothing more. */
  finished?(): void;
  /** Room came free: `writable()` is at least half the buffer again. */
  writable(): void;
  /** Exactly once. Code `done`: both ends finished and everything arrived; else a reason: `gone`, `stalled`, `protocol`, the peer's. */
  closed(code: string, msg: string): void;
}

export interface ChannelOptions extends StreamOptions {
  readonly id: string;
  readonly ticket: string;
  readonly send: SendFrame;
  readonly world: ChannelWorld;
  readonly listener: ChannelListener;
  /** How long the peer, or the own connection, may be away: STREAM_GRACE_MS. */
  readonly graceMs?: number;
}

/** Where the path to the peer stands: the peer went, our own connection went, or the peer is tried again and has not answered yet. */
type Path = { is: 'open' } | { is: 'peerless' | 'cut' | 'probing'; since: number };

export class Channel {
  readonly id: string;
  readonly #world: ChannelWorld;
  readonly #listener: ChannelListener;
  readonly #graceMs: number;
  #ticket: string;
  #send: SendFrame;
  #state: StreamState;
  #path: Path = { is: 'open' };
  #cancelTick: (() => void) | undefined;
  #cancelPath: (() => void) | undefined;
  #cancelBeat: (() => void) | undefined;
  #heardAt: number;
  #sentAt: number;
  readonly #outputs: StreamOutput[] = [];
  #draining = false;

  /** Opens this end; the peer's end has the same id. */
  constructor({ id, ticket, send, world, listener, graceMs = STREAM_GRACE_MS, ...options }: ChannelOptions) {
    this.id = id;
    this.#ticket = ticket;
    this.#send = send;
    this.#world = world;
    this.#listener = listener;
    this.#graceMs = graceMs;
    this.#state = open(id, options);
    this.#heardAt = this.#sentAt = world.now();
    this.#beat();
  }

  /** Bytes the next `write` on the channel may have; 0 when full or closed: stop reading the source until `listener.writable`. */
  writable(channel?: number): number {
    return writable(this.#state, channel);
  }

  /** True once the stream may be forgotten: a little after `closed`, when the last acknowledgements had time to arrive. */
  get over(): boolean {
    return isOver(this.#state);
  }

  /** True until `closed`. */
  get isOpen(): boolean {
    return this.#state.phase === 'open';
  }

  /** True while frames find no way to the peer: an end that waits so says `hello` again until a `resume` brings new tickets. */
  get stranded(): boolean {
    return (this.#path.is === 'cut' || this.#path.is === 'peerless') && !this.over;
  }

  /** Queues a copy of the bytes; `end` ends this channel. @throws FairleadError `internal` beyond `writable(channel)` */
  write(channel: number, bytes: Uint8Array, end = false): void {
    this.#step({ kind: 'send', channel, bytes, end });
  }

  /** Queues one control message. `urgent` overtakes data that waits here. @throws FairleadError `internal` when too many wait */
  control(bytes: Uint8Array, urgent = false): void {
    this.#step({ kind: 'send', channel: CHANNEL.control, bytes, urgent });
  }

  /** Nothing more will be sent. The stream is done when the peer has said so too. */
  finish(): void {
    this.#step({ kind: 'finish' });
  }

  /** Ends the stream at once, at both ends. */
  reset(code: string, msg: string): void {
    this.#step({ kind: 'reset', code, msg });
  }

  /** Takes a frame of this stream. */
  receive(frame: StreamWireFrame): void {
    if (this.#path.is === 'probing') this.#reopened();
    this.#heardAt = this.#world.now();
    this.#step({ kind: 'frame', frame: fromWireFrame(frame) });
  }

  /** The edge says that the peer's connection is gone: pause, and try again, until the grace is over. */
  gone(): void {
    if (this.#path.is === 'cut') return;
    const lost = this.#lose('peerless');
    if (lost && this.#world.now() - lost.since >= this.#graceMs) this.#giveUp();
    else if (lost) this.#later(GONE_PROBE_MS, () => this.#probe());
  }

  /** The connection the ticket belongs to is lost: pause until `resume`, for the grace at most. */
  disconnected(): void {
    const lost = this.#lose('cut');
    if (lost) this.#later(lost.since + this.#graceMs - this.#world.now(), () => this.#giveUp());
  }

  /**
   * A new ticket, and the connection it belongs to: go on from the last acknowledgements. The edge cannot know that the peer is still there,
   * so the grace goes on until the peer is heard, or nobody says that it is gone.
   */
  resume(ticket: string, send: SendFrame): void {
    this.#ticket = ticket;
    this.#send = send;
    if (this.#path.is === 'open') this.#step({ kind: 'path' });
    else this.#tryPath(this.#path.since);
  }

  /** While nobody speaks, ends show each other that they are there; one that does not for long is gone, whatever the path looks like. */
  #beat(): void {
    const due = this.#sentAt + STREAM_KEEPALIVE_MS - this.#world.now();
    this.#cancelBeat = this.#world.schedule(due > 0 ? due : STREAM_KEEPALIVE_MS, () => {
      const now = this.#world.now();
      if (this.#path.is === 'open' && now - this.#heardAt >= STALL_MS)
        return this.reset('stalled', `nothing was heard of the other end for ${STALL_MS / 1000} s`);
      if (now - this.#sentAt >= STREAM_KEEPALIVE_MS) this.#step({ kind: 'keepalive' });
      this.#beat();
    });
  }

  #lose(is: 'peerless' | 'cut'): { since: number } | undefined {
    if (isOver(this.#state)) return undefined;
    const lost = { is, since: this.#path.is === 'open' ? this.#world.now() : this.#path.since };
    this.#path = lost;
    this.#step({ kind: 'paused' });
    return lost;
  }

  #probe(): void {
    if (this.#path.is === 'open') return;
    if (this.#world.now() - this.#path.since >= this.#graceMs) return this.#giveUp();
    this.#tryPath(this.#path.since);
  }

  #tryPath(since: number): void {
    this.#path = { is: 'probing', since };
    this.#later(GONE_PROBE_MS, () => this.#reopened());
    this.#step({ kind: 'path' });
  }

  #giveUp(): void {
    this.#step({ kind: 'reset', code: 'gone', msg: `the connection was gone for ${this.#graceMs / 1000} s` });
  }

  #reopened(): void {
    this.#cancelPath?.();
    this.#cancelPath = undefined;
    if (this.#path.is !== 'open') this.#heardAt = this.#world.now();
    this.#path = { is: 'open' };
  }

  #later(ms: number, task: () => void): void {
    this.#cancelPath?.();
    this.#cancelPath = this.#world.schedule(Math.max(0, ms), task);
  }

  /** One step, its outputs in order, also when a listener calls back in between. */
  #step(input: StreamInput): void {
    const { state, outputs } = step(this.#state, input, this.#world.now());
    this.#state = state;
    this.#outputs.push(...outputs);
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let output = this.#outputs.shift(); output; output = this.#outputs.shift()) this.#emit(output);
    } finally {
      this.#draining = false;
    }
    this.#scheduleTick();
  }

  #scheduleTick(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    if (isOver(this.#state)) return this.#reopened();
    const at = nextWake(this.#state);
    if (at === undefined) return;
    this.#cancelTick = this.#world.schedule(Math.max(0, at - this.#world.now()), () => this.#step({ kind: 'tick' }));
  }

  #emit(output: StreamOutput): void {
    switch (output.kind) {
      case 'transmit':
        this.#sentAt = this.#world.now();
        return this.#send(toWireFrame(output.frame, this.#ticket));
      case 'deliver':
        return this.#deliver(output);
      case 'writable':
        return this.#listener.writable();
      case 'closed':
        this.#cancelBeat?.();
        return this.#listener.closed(output.code, output.msg);
    }
  }

  #deliver({ channel, bytes, end }: Extract<StreamOutput, { kind: 'deliver' }>): void {
    if (channel === CHANNEL.control) {
      if (end) this.#listener.finished?.();
      else this.#listener.control(bytes);
      return;
    }
    const taken = this.#listener.data(channel, bytes, end);
    if (!taken) return this.#consumed();
    taken.then(
      () => this.#consumed(),
      (error: unknown) => this.reset('failed', messageOf(error).slice(0, 1000)),
    );
  }

  #consumed(): void {
    if (!isOver(this.#state)) this.#step({ kind: 'consumed', messages: 1 });
  }
}

/** A stream's frame as it travels: base64, with the sender's ticket. */
export function toWireFrame(frame: StreamFrame, ticket: string): StreamWireFrame {
  const g = ticket;
  if (frame.t === 'rst')
    return { t: 'rst', s: frame.s, g, code: frame.code.slice(0, 64), msg: frame.msg.slice(0, 1000) };
  if (frame.t === 'a') return { t: 'a', s: frame.s, g, a: frame.a, k: ranges(frame.k), w: frame.w };
  const { s, q, c, b, f, a, k, w } = frame;
  return {
    t: 'd',
    s,
    g,
    q,
    c,
    b: Buffer.from(b.buffer, b.byteOffset, b.length).toString('base64'),
    ...(f && { f }),
    ...(a !== undefined && { a }),
    ...(k && { k: ranges(k) }),
    ...(w !== undefined && { w }),
  };
}

/** The stream's frame that travelled. */
export function fromWireFrame(frame: StreamWireFrame): StreamFrame {
  if (frame.t === 'rst') return { t: 'rst', s: frame.s, code: frame.code, msg: frame.msg };
  if (frame.t === 'a') return { t: 'a', s: frame.s, a: frame.a, k: frame.k, w: frame.w };
  const { s, q, c, b, f, a, k, w } = frame;
  return {
    t: 'd',
    s,
    q,
    c,
    b: Buffer.from(b, 'base64'),
    ...(f && { f }),
    ...(a !== undefined && { a }),
    ...(k && { k }),
    ...(w !== undefined && { w }),
  };
}

/** The error of a stream that closed with another code than `done`. */
export function closedError(code: string, msg: string): FairleadError {
  const lost = code === 'gone' || code === 'stalled';
  return new FairleadError(lost ? 'unavailable' : 'host_failed', `The session ended early: ${msg || code}.`);
}

function ranges(k: readonly (readonly [number, number])[]): [number, number][] {
  return k.map(([from, to]) => [from, to]);
}
