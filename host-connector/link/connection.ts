import { FairleadError, isFairleadError, messageOf } from '#shared/errors.ts';
import { decodeDown, encodeFrame, fromWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import type { ChannelWorld } from '#shared/link/channel.ts';
import type { Log } from '../log.ts';
import type { Dial, Socket } from './dial.ts';
import { decide, nextWake, servingLine, unlinked, type Effect, type LinkState, type Wake } from './plan.ts';

/** Clock, scheduler and chance of the link. */
export interface LinkWorld extends ChannelWorld {
  /** A number in [0, 1). */
  random(): number;
}

/** One connection to the edge that said `welcome`. Stream tickets are sealed for one, so streams answer on the one they came on. */
export interface LinkLine {
  readonly id: number;
  /** Sends if it still can; what is lost is sent again by whoever keeps it. */
  send(frame: UpFrame): void;
}

type Welcome = Extract<DownFrame, { t: 'welcome' }>;

/** What the rest of the connector does about the link. */
export interface LinkListener {
  /** This host's greeting. */
  hello(replaces: boolean): Promise<Extract<UpFrame, { t: 'hello' }>>;
  /** Stores what `welcome` brought; the line serves only after it resolved. */
  welcome(welcome: Welcome): Promise<void>;
  /** A line serves: report, then tell what is spooled. */
  serving(line: LinkLine): void;
  frame(frame: DownFrame, line: LinkLine): void;
  /** A line that served is gone. */
  closed(line: LinkLine): void;
  /** A text this version does not understand. */
  unknown(text: string, error: FairleadError, line: LinkLine): void;
  /** Whether somebody's session waits for a line. */
  urgent(): boolean;
  /** No line could be had for a long time. */
  giveUp(): void;
}

/** Frames kept that came before their line was ready: the link keeps no order, and storing the secret takes a moment. */
const MAX_EARLY_FRAMES = 256;

/** Everything of one line: it is a {@link LinkLine} once it was welcomed. */
interface Live {
  readonly line: LinkLine;
  readonly stop: AbortController;
  readonly early: DownFrame[];
  readonly replaces: boolean;
  socket?: Socket;
  welcome: 'none' | 'storing' | 'stored';
}

/**
 * The link: one loop. Sockets, timers and callers only wake it with a reason; plan.ts decides; this performs.
 */
export class Connection {
  readonly #dial: Dial;
  readonly #world: LinkWorld;
  readonly #listener: LinkListener;
  readonly #log: Log;
  readonly #live = new Map<number, Live>();
  readonly #wakes: Wake[] = [];
  #state: LinkState;
  #awake = false;
  #cancelTick: (() => void) | undefined;

  constructor(dial: Dial, world: LinkWorld, listener: LinkListener, log: Log) {
    this.#dial = dial;
    this.#world = world;
    this.#listener = listener;
    this.#log = log;
    this.#state = unlinked(world.now());
  }

  /** Dials, and keeps a line from now on. */
  start(): void {
    this.#wake({ why: 'tick' });
  }

  /** Hangs up for good. */
  stop(): void {
    this.#wake({ why: 'stop' });
  }

  /** The line that serves, if any. */
  get line(): LinkLine | undefined {
    const id = servingLine(this.#state);
    return id === undefined ? undefined : this.#live.get(id)?.line;
  }

  /** Says hello once more on the line that serves: the edge answers with new tickets for every stream. */
  greet(): void {
    const id = servingLine(this.#state);
    if (id !== undefined) this.#greet(id);
  }

  #wake(wake: Wake): void {
    this.#wakes.push(wake);
    if (this.#awake) return;
    this.#awake = true;
    try {
      for (let next = this.#wakes.shift(); next; next = this.#wakes.shift()) {
        const before = { ...this.#state, urgent: this.#listener.urgent() };
        const { state, effects } = decide(before, next, this.#world.now(), this.#world.random());
        this.#state = state;
        for (const effect of effects) this.#perform(effect);
      }
    } finally {
      this.#awake = false;
    }
    this.#cancelTick?.();
    const at = nextWake(this.#state);
    this.#cancelTick =
      at === Infinity
        ? undefined
        : this.#world.schedule(Math.max(0, at - this.#world.now()), () => this.#wake({ why: 'tick' }));
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'dial':
        return this.#open(effect.line, effect.replaces);
      case 'greet':
        return this.#greet(effect.line);
      case 'beat':
        return this.#live.get(effect.line)?.socket?.send(encodeFrame({ t: 'hb' }));
      case 'serve': {
        const live = this.#live.get(effect.line);
        if (!live) return;
        this.#log('info', `linked (connection ${effect.line})`);
        return this.#listener.serving(live.line);
      }
      case 'close':
        this.#log('info', `closing connection ${effect.line}: ${effect.because}`);
        return this.#end(effect.line);
      case 'give-up':
        return this.#listener.giveUp();
    }
  }

  #open(id: number, replaces: boolean): void {
    const line = { id, send: (frame: UpFrame) => this.#send(id, frame) };
    const live: Live = { line, stop: new AbortController(), early: [], replaces, welcome: 'none' };
    this.#live.set(id, live);
    const open = async (): Promise<void> => {
      const socket = await this.#dial(
        { text: (text) => this.#text(live, text), closed: (why) => this.#lost(id, false, why) },
        live.stop.signal,
      );
      if (live.stop.signal.aborted) return socket.close();
      live.socket = socket;
      this.#wake({ why: 'opened', line: id });
    };
    open().catch((error: unknown) => this.#lost(id, isRefusal(error), messageOf(error)));
  }

  #greet(id: number): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#listener.hello(live.replaces).then(
      (hello) => live.socket?.send(encodeFrame(hello)),
      (error: unknown) => this.#lost(id, false, messageOf(error)),
    );
  }

  #send(id: number, frame: UpFrame): void {
    const socket = this.#live.get(id)?.socket;
    if (!socket) return;
    socket.send(encodeFrame(frame));
    this.#wake({ why: 'sent', line: id });
  }

  #text(live: Live, text: string): void {
    const { line } = live;
    if (this.#live.get(line.id) !== live) return;
    let frame: DownFrame;
    try {
      frame = decodeDown(text);
    } catch (error) {
      if (!isFairleadError(error)) throw error;
      this.#log('warn', error.message);
      if (live.welcome === 'stored') this.#listener.unknown(text, error, line);
      return;
    }
    this.#wake({ why: 'heard', line: line.id });
    if (frame.t === 'welcome') return this.#welcome(live, frame);
    if (frame.t === 'drain') return this.#wake({ why: 'drain', line: line.id });
    if (frame.t === 'bye') return this.#lost(line.id, isRefusal(fromWire(frame.error)), frame.error.message);
    if (live.welcome === 'stored') return this.#listener.frame(frame, line);
    if (live.early.length < MAX_EARLY_FRAMES) live.early.push(frame);
  }

  #welcome(live: Live, welcome: Welcome): void {
    if (live.welcome !== 'none') return;
    live.welcome = 'storing';
    const { heartbeatMs, rotateMs } = welcome;
    this.#listener.welcome(welcome).then(
      () => {
        if (this.#live.get(live.line.id) !== live) return;
        live.welcome = 'stored';
        this.#wake({ why: 'welcomed', line: live.line.id, heartbeatMs, rotateMs });
        for (const frame of live.early.splice(0)) this.#listener.frame(frame, live.line);
      },
      (error: unknown) => this.#lost(live.line.id, false, messageOf(error)),
    );
  }

  /** A line ended by itself, by refusal or by failure. */
  #lost(id: number, refused: boolean, why: string): void {
    if (!this.#live.has(id)) return;
    const what = refused ? 'no link, next attempt in minutes, containers are not touched' : 'no link';
    this.#log(refused ? 'error' : 'warn', `${what}: ${why}`);
    this.#end(id);
    this.#wake({ why: 'closed', line: id, refused });
  }

  #end(id: number): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#live.delete(id);
    live.stop.abort();
    live.socket?.close();
    if (live.welcome === 'stored') this.#listener.closed(live.line);
  }
}

/** True when trying again soon is pointless: somebody has to do something first. */
function isRefusal(error: unknown): boolean {
  return error instanceof FairleadError && ['unauthenticated', 'forbidden', 'not_found'].includes(error.code);
}
