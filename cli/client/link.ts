import { randomUUID } from 'node:crypto';

import { WebSocket } from 'ws';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { LINK_PATH, unmasked } from '#shared/link/address.ts';
import { Channel, type ChannelListener, type ChannelWorld } from '#shared/link/channel.ts';
import { decodeDown, encodeFrame, fromWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import {
  BACKOFF_MIN_MS,
  BACKOFF_URGENT_MS,
  HANDSHAKE_MS,
  LIVENESS_MS,
  MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
} from '#shared/link/limits.ts';
import { Repeat } from '#shared/link/repeat.ts';
import type { ControlPlane, SocketAddress } from './http.ts';

export interface LinkWorld extends ChannelWorld {
  /** 0 ≤ x < 1. */
  random(): number;
}

interface Attaching {
  readonly frame: Extract<UpFrame, { t: 'attach' }>;
  readonly settle: { resolve: (channel: Channel) => void; reject: (error: unknown) => void };
  readonly listener: ChannelListener;
}

/** Refusals that mean: not now. What was refused so is said again like what was lost. */
const PASSING = new Set<string>(['unavailable', 'rate_limited', 'timed_out', 'conflict']);

/**
 * The client's end of the link (shared/link/PROTOCOL.md), for one stream. A connection that is cut is dialled again, with the same boot id,
 * for as long as the stream waits; the edge answers with `resume` and the stream goes on where it was.
 */
export class Link {
  readonly #api: ControlPlane;
  readonly #world: LinkWorld;
  readonly #boot = randomUUID();
  #socket: WebSocket | undefined;
  #attaching: Attaching | undefined;
  #request: Attaching['frame'] | undefined;
  #channel: Channel | undefined;
  #closed = false;
  #attempt = 0;
  /** Until `welcome`; later, until a `resume` gives a stranded stream its new ticket. */
  readonly #hello: Repeat;
  /** Until the host is heard: it may not have been told of the stream either. */
  readonly #attach: Repeat;
  #cancelBeat: (() => void) | undefined;
  #cancelDeadline: (() => void) | undefined;
  #flushed: Promise<void> = Promise.resolve();

  constructor(api: ControlPlane, world: LinkWorld) {
    this.#api = api;
    this.#world = world;
    this.#hello = new Repeat(world, () => this.#sayHello());
    this.#attach = new Repeat(world, () => this.#sayAttach());
  }

  /**
   * Connects and spends an operation's one-use secrets on a stream. `listener` is told of everything that comes.
   * @throws FairleadError when the edge can not be reached or refuses
   */
  async attach(operation: string, secrets: Record<string, string>, listener: ChannelListener): Promise<Channel> {
    await this.#connect(await this.#api.socket(LINK_PATH));
    const { promise, ...settle } = Promise.withResolvers<Channel>();
    const frame = { t: 'attach', id: randomUUID(), boot: this.#boot, op: operation, secrets } as const;
    this.#attaching = { frame, settle, listener };
    this.#request = frame;
    this.#sayAttach();
    this.#attach.start();
    return await promise;
  }

  /** Hands what is queued to the operating system, then lets go of the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#quiet();
    this.#hello.stop();
    this.#attach.stop();
    await this.#flushed;
    this.#socket?.close();
  }

  /** One connection, up to `welcome`. */
  #connect(address: SocketAddress): Promise<void> {
    const { url, agent, headers } = address;
    const socket = new WebSocket(url, {
      agent,
      headers,
      maxPayload: 2 * MAX_FRAME_BYTES,
      handshakeTimeout: HANDSHAKE_MS,
      perMessageDeflate: false,
      generateMask: unmasked,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let failure: unknown;
    this.#socket = socket;
    // The handshake is over with the `welcome`.
    const cancelDeadline = this.#world.schedule(HANDSHAKE_MS, () => socket.terminate());
    socket.on('open', () => {
      this.#sayHello();
      this.#hello.start();
    });
    socket.on('message', (data: Buffer) => {
      if (socket !== this.#socket) return;
      this.#alive();
      const frame = understood(data.toString());
      if (frame?.t === 'welcome') {
        cancelDeadline();
        this.#welcomed(frame.heartbeatMs, resolve);
      } else if (frame) this.#receive(frame);
    });
    socket.on('error', (error) => (failure = error));
    socket.on('close', () => {
      cancelDeadline();
      reject(this.#api.unreachable(failure ?? new Error('the link was closed before it was ready')));
      if (socket === this.#socket) this.#lost(address);
    });
    return promise;
  }

  #welcomed(heartbeatMs: number, ready: () => void): void {
    this.#attempt = 0;
    const beat = () => {
      this.#cancelBeat = this.#world.schedule(heartbeatMs, () => {
        this.#send({ t: 'hb' });
        beat();
      });
    };
    this.#cancelBeat?.();
    beat();
    ready();
    if (!this.#channel?.stranded) this.#hello.stop();
    // A cut may have swallowed the answer.
    if (this.#attaching) this.#sayAttach();
  }

  #sayHello(): void {
    const streams = this.#channel?.isOpen ? [this.#channel.id] : [];
    this.#send({ t: 'hello', v: PROTOCOL_VERSION, boot: this.#boot, streams });
  }

  #sayAttach(): void {
    if (this.#request) this.#send(this.#request);
  }

  #receive(frame: DownFrame): void {
    switch (frame.t) {
      case 'attached':
        if (frame.id === this.#attaching?.frame.id) this.#attached(frame.s, frame.g);
        return;
      case 'refused':
        if (frame.id === this.#attaching?.frame.id) this.#refused(fromWire(frame.error));
        return;
      case 'resume':
        return frame.streams.forEach(({ s, g }) => this.#resume(s, g));
      case 'gone':
        if (frame.s !== this.#channel?.id) return;
        this.#channel.gone();
        return this.#hello.start();
      case 'd':
      case 'a':
      case 'rst':
        if (frame.s !== this.#channel?.id) return;
        this.#attach.stop();
        return this.#channel.receive(frame);
      case 'drain':
        return this.#socket?.close();
      case 'bye':
        return this.#fail(fromWire(frame.error));
      case 'welcome':
      case 'hb':
      case 'publish':
      // What follows is for hosts only.
      case 'cmd':
      case 'cancel':
      case 'got':
      case 'answer':
      case 'report-now':
      case 'chunk':
        return;
    }
  }

  #attached(id: string, ticket: string): void {
    if (!this.#attaching) return;
    const { settle, listener } = this.#attaching;
    this.#attaching = undefined;
    this.#channel = new Channel({ id, ticket, send: (frame) => this.#send(frame), world: this.#world, listener });
    settle.resolve(this.#channel);
  }

  #refused(error: FairleadError): void {
    if (!PASSING.has(error.code)) this.#fail(error);
  }

  #resume(id: string, ticket: string): void {
    if (id === this.#channel?.id) {
      this.#hello.stop();
      this.#channel.resume(ticket, (frame) => this.#send(frame));
    }
    // Our attach was taken, but the cut swallowed its answer; a link has one stream.
    else if (!this.#channel) this.#attached(id, ticket);
  }

  #lost(address: SocketAddress): void {
    this.#quiet();
    this.#hello.stop();
    this.#channel?.disconnected();
    if (!this.#wanted) return;
    const most = Math.min(BACKOFF_URGENT_MS, BACKOFF_MIN_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#world.schedule(this.#world.random() * most, () => {
      if (!this.#wanted) return;
      // Failing, it comes here again; the stream's grace ends it.
      this.#connect(address).catch((error: unknown) => {
        if (!this.#channel) this.#fail(error);
      });
    });
  }

  get #wanted(): boolean {
    return !this.#closed && (this.#attaching !== undefined || this.#channel?.isOpen === true);
  }

  /** Nothing will come of this link: whoever waits is told why. */
  #fail(error: unknown): void {
    const { message } = error instanceof Error ? error : new FairleadError('protocol', String(error));
    this.#attach.stop();
    this.#attaching?.settle.reject(error);
    this.#attaching = undefined;
    this.#channel?.reset('failed', message.slice(0, 1000));
  }

  #send(frame: UpFrame): void {
    const socket = this.#socket;
    // What a closed connection swallows, the stream sends again.
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.#flushed = new Promise((resolve) => socket.send(encodeFrame(frame), () => resolve()));
    if (frame.t !== 'a' && frame.t !== 'rst') this.#expectAnswer(socket);
  }

  /** All frames but acknowledgements are answered; a socket that stays silent is dead, whatever TCP says. */
  #expectAnswer(socket: WebSocket): void {
    this.#cancelDeadline ??= this.#world.schedule(LIVENESS_MS, () => socket.terminate());
  }

  #alive(): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
  }

  #quiet(): void {
    this.#alive();
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
  }
}

/** What is no frame this client knows is not for it: a gateway's own complaint, or a newer edge. What it stood for is said again. */
function understood(text: string): DownFrame | undefined {
  try {
    return decodeDown(text);
  } catch (error) {
    if (isFairleadError(error, 'protocol')) return undefined;
    throw error;
  }
}
