import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';

import { FairleadError, messageOf } from '#shared/errors.ts';
import type { Channel, ChannelListener, ChannelWorld } from '#shared/link/channel.ts';
import { decodeClientControl, encodeControl, ERRORS, OUTPUT, TO_HOST } from '#shared/link/session.ts';
import type { Session } from '../lxc/attach.ts';

/** A command that was hung up has this long before it is killed. */
export const HANG_UP_MS = 10_000;
/** Resizes and signals that came before the command started; more than a client could mean. */
const MAX_EARLY_CONTROLS = 32;

/**
 * One command's streams on one channel. The channel opens before the command starts: what the client sends meanwhile waits in its credit.
 * Back-pressure holds both ways: output is read only into room on the channel, input is acknowledged only when the command's pipe took it.
 */
export class Exec {
  readonly #world: ChannelWorld;
  readonly #session: Promise<Session>;
  #started!: (session: Session) => void;
  #failed!: (error: unknown) => void;
  #closed!: () => void;
  #isClosed = false;
  /** Why the stream closed while the command ran, or before it did. */
  #hungUp: string | undefined;
  #exited = false;
  #roomFree: (() => void)[] = [];
  readonly #early: Uint8Array[] = [];
  /** Input is written piece by piece, in order. */
  #inputs: Promise<void> = Promise.resolve();
  /** While the command runs. */
  #live: { readonly session: Session; readonly channel: Channel } | undefined;

  /** Resolves when the channel has closed, for whatever reason. */
  readonly closed: Promise<void>;

  constructor(world: ChannelWorld) {
    this.#world = world;
    this.closed = new Promise((resolve) => (this.#closed = resolve));
    this.#session = new Promise((resolve, reject) => {
      this.#started = resolve;
      this.#failed = reject;
    });
    // Whoever waits for the session is told; when nobody does, run() has thrown the same error.
    this.#session.catch(() => {});
  }

  readonly listener: ChannelListener = {
    data: (channel, bytes, end) => (this.#inputs = this.#inputs.then(() => this.#input(channel, bytes, end))),
    control: (bytes) => this.#control(bytes),
    writable: () => this.#wakeWriters(),
    closed: (_code, msg) => {
      this.#isClosed = true;
      if (!this.#exited) this.#hungUp = msg;
      this.#wakeWriters();
      this.#closed();
    },
  };

  /**
   * Starts the command and carries its output until both have ended. @returns its exit code
   * @throws FairleadError `host_failed` when it was hung up before its end, because the client had gone
   */
  async run(channel: Channel, start: () => Promise<Session>): Promise<number> {
    const session = await this.#start(channel, start);
    void session.exited.then(() => (this.#exited = true));
    void this.closed.then(() => this.#hangUp(session));
    await Promise.all([
      this.#output(channel, OUTPUT, session.stdout),
      ...(session.stderr ? [this.#output(channel, ERRORS, session.stderr)] : []),
    ]);
    const code = await session.exited;
    this.#live = undefined;
    if (this.#hungUp !== undefined) throw new FairleadError('host_failed', `The command was hung up: ${this.#hungUp}.`);
    if (channel.isOpen) {
      channel.control(encodeControl({ exit: code }));
      channel.finish();
    }
    return code;
  }

  async #start(channel: Channel, start: () => Promise<Session>): Promise<Session> {
    try {
      const session = await start();
      // Errors of the pipes show as their end; the exit code says the rest.
      session.stdin.on('error', () => session.stdin.destroy());
      this.#live = { session, channel };
      for (const bytes of this.#early.splice(0)) this.#control(bytes);
      this.#started(session);
      return session;
    } catch (error) {
      this.#failed(error);
      channel.reset((error as Partial<FairleadError>).code ?? 'host_failed', messageOf(error));
      throw error;
    }
  }

  async #input(channel: number, bytes: Uint8Array, end: boolean): Promise<void> {
    const { stdin } = await this.#session;
    if (channel !== TO_HOST || stdin.destroyed || stdin.writableEnded) return;
    if (bytes.length > 0 && !stdin.write(bytes)) await drained(stdin);
    if (end) stdin.end();
  }

  #control(bytes: Uint8Array): void {
    if (!this.#live) {
      if (this.#early.length < MAX_EARLY_CONTROLS) this.#early.push(bytes);
      return;
    }
    const { session, channel } = this.#live;
    try {
      const message = decodeClientControl(bytes);
      if (message.command === 'window-resize') session.resize(message.args.width, message.args.height);
      else void session.signal(message.signal);
    } catch (error) {
      channel.reset('protocol', messageOf(error));
    }
  }

  async #output(channel: Channel, number: number, source: Readable): Promise<void> {
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        for (let rest = chunk; rest.length > 0 && channel.isOpen;) {
          const room = channel.writable(number);
          if (room === 0) await this.#room();
          else {
            channel.write(number, rest.subarray(0, room));
            rest = rest.subarray(room);
          }
        }
      }
    } catch (error) {
      if (channel.isOpen) channel.reset('host_failed', `the output of the command broke: ${messageOf(error)}`);
    }
    if (channel.isOpen) channel.write(number, new Uint8Array(), true);
  }

  #room(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : new Promise((resolve) => this.#roomFree.push(resolve));
  }

  #wakeWriters(): void {
    for (const wake of this.#roomFree.splice(0)) wake();
  }

  /** The client is gone for good: as when a terminal hangs up, then by force. */
  #hangUp(session: Session): void {
    if (this.#live?.session !== session) return;
    session.stdin.end();
    void session.signal(constants.signals.SIGHUP);
    const cancel = this.#world.schedule(HANG_UP_MS, () => session.kill());
    void session.exited.then(cancel);
  }
}

/** Resolves when a pipe takes more, or never will. */
function drained(pipe: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      pipe.removeListener('drain', done);
      pipe.removeListener('close', done);
      resolve();
    };
    pipe.once('drain', done);
    pipe.once('close', done);
  });
}
