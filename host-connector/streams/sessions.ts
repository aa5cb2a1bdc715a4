import { FairleadError, messageOf } from '#shared/errors.ts';
import { Channel, type ChannelWorld } from '#shared/link/channel.ts';
import type { DownFrame, StreamWireFrame } from '#shared/link/frames.ts';
import { Repeat } from '#shared/link/repeat.ts';
import { LINGER_MS } from '#shared/link/stream/stream.ts';
import type { LinkLine } from '../link/connection.ts';
import type { Session } from '../lxc/attach.ts';
import { Exec } from './exec.ts';

/** A client that is silent for this long after its command ended is not waited for. */
const SILENT_MS = 60_000;

/** Frames of a stream that overtook the command which opens it are kept this long, so many of them, for so many streams. */
const EARLY_MS = 2_000;
const MAX_EARLY_FRAMES = 24;
const MAX_EARLY_STREAMS = 64;

/** Where a stream begins: its id, the host's ticket, and the connection both came on. */
export interface StreamStart {
  readonly id: string;
  readonly ticket: string;
  readonly line: LinkLine;
  /** Aborted: the command is hung up. */
  readonly signal: AbortSignal;
}

interface Live {
  readonly channel: Channel;
  line: LinkLine;
  heardAt: number;
}

/** The streams of this host: frames in, frames out, by stream id. */
export class Sessions {
  readonly #world: ChannelWorld;
  readonly #live = new Map<string, Live>();
  readonly #early = new Map<string, StreamWireFrame[]>();
  readonly #lost: Repeat;

  /** `greet` says hello again: the edge then sends new tickets for all streams. */
  constructor(world: ChannelWorld, greet: () => void) {
    this.#world = world;
    this.#lost = new Repeat(world, () => (this.#stranded ? greet() : this.#lost.stop()));
  }

  /**
   * Opens the host's end, starts the command, and resolves with its exit code when the command and its output have ended. When the
   * client is gone for good the command is hung up.
   * @throws FairleadError of `start`; the stream is then reset with its reason
   */
  async run({ id, ticket, line, signal }: StreamStart, start: () => Promise<Session>): Promise<number> {
    if (this.#live.has(id)) throw new FairleadError('conflict', 'This session is open already.');
    const exec = new Exec(this.#world);
    const channel = new Channel({ id, ticket, send: sender(line), world: this.#world, listener: exec.listener });
    const live: Live = { channel, line, heardAt: this.#world.now() };
    this.#live.set(id, live);
    for (const frame of this.#early.get(id) ?? []) channel.receive(frame);
    this.#early.delete(id);
    const hangUp = (): void => channel.reset('cancelled', messageOf(signal.reason));
    signal.addEventListener('abort', hangUp, { once: true });
    try {
      const code = await exec.run(channel, start);
      await this.#farewell(live, exec.closed);
      return code;
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', hangUp);
      // A little longer in the map: the client's last frames want their acknowledgement repeated.
      this.#world.schedule(LINGER_MS + 1_000, () => this.#live.delete(id));
    }
  }

  /** Takes a stream's frame. One of a stream that is not here waits a little for it; its sender learns from the edge, or from the silence. */
  frame(frame: StreamWireFrame): void {
    const live = this.#live.get(frame.s);
    if (!live) return this.#keep(frame);
    live.heardAt = this.#world.now();
    live.channel.receive(frame);
  }

  #keep(frame: StreamWireFrame): void {
    const early = this.#early.get(frame.s);
    if (early === undefined) {
      if (this.#early.size >= MAX_EARLY_STREAMS) return;
      this.#early.set(frame.s, [frame]);
      this.#world.schedule(EARLY_MS, () => this.#early.delete(frame.s));
    } else if (early.length < MAX_EARLY_FRAMES) early.push(frame);
  }

  /** The edge says that a stream's client is gone. */
  gone({ s }: Extract<DownFrame, { t: 'gone' }>): void {
    this.#live.get(s)?.channel.gone();
    if (this.#stranded) this.#lost.start();
  }

  /** New tickets, for the connection they came on. */
  resume({ streams }: Extract<DownFrame, { t: 'resume' }>, line: LinkLine): void {
    for (const { s, g } of streams) {
      const live = this.#live.get(s);
      if (!live) continue;
      live.line = line;
      live.channel.resume(g, sender(line));
    }
    if (!this.#stranded) this.#lost.stop();
  }

  /** A connection is gone, and with it the tickets that were sealed for it. */
  lineClosed(line: LinkLine): void {
    for (const live of this.#live.values()) if (live.line === line) live.channel.disconnected();
    if (this.#stranded) this.#lost.start();
  }

  /** True while a stream has no way to its client: a `resume` was lost, or has not come yet. */
  get #stranded(): boolean {
    return [...this.#live.values()].some(({ channel }) => channel.stranded);
  }

  /** Sessions whose command runs. */
  get open(): number {
    return [...this.#live.values()].filter(({ channel }) => channel.isOpen).length;
  }

  /** Waits until the client has taken everything, as long as it shows signs of life. */
  #farewell(live: Live, closed: Promise<void>): Promise<void> {
    live.heardAt = this.#world.now();
    const watch = (): void => {
      const left = live.heardAt + SILENT_MS - this.#world.now();
      if (left <= 0) live.channel.reset('stalled', 'the client is silent');
      else cancel = this.#world.schedule(left, watch);
    };
    let cancel = this.#world.schedule(SILENT_MS, watch);
    return closed.finally(() => cancel());
  }
}

function sender(line: LinkLine): (frame: StreamWireFrame) => void {
  return (frame) => line.send(frame);
}
