import { FairleadError } from '#shared/errors.ts';
import { Channel, type ChannelListener } from '#shared/link/channel.ts';
import { decodeDown, encodeFrame, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { decodeHostControl, OUTPUT, TO_HOST } from '#shared/link/session.ts';
import { LIVENESS_MS, PROTOCOL_VERSION } from '#shared/link/limits.ts';
import type { Socket } from '../../host-connector/link/dial.ts';
import type { Edge } from './edge.ts';
import type { Site } from './gateway.ts';
import type { Program } from './program.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

const REDIAL_MS = 2000;
/** An attach without an answer is sent again. */
const ATTACH_AGAIN_MS = 3000;

/** Somebody who runs a command in an instance: what `fairlead exec` is, without a terminal. */
export class Client implements Site {
  readonly name: string;
  partitioned = false;
  readonly process: Mortal = { alive: true };
  readonly #run: Run;
  readonly #edge: Edge;
  readonly #boot: string;
  readonly #operation: string;
  readonly #secrets: Readonly<Record<string, string>>;
  readonly #program: () => Program | undefined;
  readonly #pieces: string[];
  #socket: Socket | undefined;
  #channel: Channel | undefined;
  #sent = '';
  #got = '';
  #exit: number | undefined;
  #over = false;
  #ended = false;
  #silentSince: number | undefined;

  constructor(
    run: Run,
    edge: Edge,
    name: string,
    exec: { operation: string; secrets: Readonly<Record<string, string>>; program: () => Program | undefined },
  ) {
    this.#run = run;
    this.#edge = edge;
    this.name = name;
    this.#boot = `client-${name}`;
    this.#operation = exec.operation;
    this.#secrets = exec.secrets;
    this.#program = exec.program;
    const { chance } = run;
    this.#pieces = Array.from({ length: chance.between(0, 6) }, (_, at) => `${at}`.repeat(chance.between(1, 300)));
    this.#dial();
    this.#mind();
  }

  /** The process is killed: nobody hears of it again. */
  kill(): void {
    this.#run.trace(() => `% client ${this.name} is killed`);
    this.process.alive = false;
    this.#edge.gateway.died(this.process, true);
  }

  #dial(): void {
    const { timeline } = this.#run;
    const listener = { text: (text: string) => this.#text(text), closed: () => this.#lost() };
    this.#edge.gateway.open(this, this.process, this.#edge.token, listener).then(
      (socket) => {
        this.#socket = socket;
        this.#send({ t: 'hello', v: PROTOCOL_VERSION, boot: this.#boot });
      },
      () => timeline.after(REDIAL_MS, () => this.#wanted && this.#dial(), this.process),
    );
  }

  get #wanted(): boolean {
    return !this.#over && this.#channel?.isOpen !== false;
  }

  #lost(): void {
    this.#socket = undefined;
    this.#silentSince = undefined;
    this.#channel?.disconnected();
    this.#run.timeline.after(REDIAL_MS, () => this.#wanted && this.#dial(), this.process);
  }

  /** Sends an attach again, gives up after the time for it, hangs up on silence. */
  #mind(): void {
    const { timeline } = this.#run;
    const begun = timeline.now;
    const again = (): void => {
      if (this.#over) return;
      if (this.#silentSince !== undefined && timeline.now - this.#silentSince > LIVENESS_MS) this.#socket?.close();
      if (!this.#channel && timeline.now - begun > 60_000) return this.#finish('not attached');
      if (!this.#channel) this.#attach();
      timeline.after(ATTACH_AGAIN_MS, again, this.process);
    };
    timeline.after(ATTACH_AGAIN_MS, again, this.process);
  }

  #attach(): void {
    this.#send({ t: 'attach', id: 'a', boot: this.#boot, op: this.#operation, secrets: { ...this.#secrets } });
  }

  #send(frame: UpFrame): void {
    if (!this.#socket) return;
    this.#socket.send(encodeFrame(frame));
    if (frame.t !== 'a' && frame.t !== 'rst') this.#silentSince ??= this.#run.timeline.now;
  }

  #text(text: string): void {
    let frame: DownFrame;
    try {
      frame = decodeDown(text);
    } catch (error) {
      if (!(error instanceof FairleadError)) throw error;
      return;
    }
    this.#silentSince = undefined;
    if (frame.t === 'welcome' && !this.#channel) this.#attach();
    if (frame.t === 'attached') this.#attached(frame.s, frame.g);
    if (frame.t === 'resume') for (const { s, g } of frame.streams) this.#resume(s, g);
    if (!('s' in frame) || frame.s !== this.#channel?.id) return;
    if (frame.t === 'gone') this.#channel.gone();
    if (frame.t === 'd' || frame.t === 'a' || frame.t === 'rst') this.#channel.receive(frame);
  }

  #resume(id: string, ticket: string): void {
    if (!this.#channel) this.#attached(id, ticket);
    else if (this.#channel.id === id) this.#channel.resume(ticket, (frame) => this.#send(frame));
  }

  #attached(id: string, ticket: string): void {
    if (this.#channel || this.#over) return;
    const { timeline } = this.#run;
    const world = {
      now: () => timeline.now,
      schedule: (ms: number, task: () => void) => timeline.after(ms, task, this.process),
    };
    this.#channel = new Channel({ id, ticket, send: (frame) => this.#send(frame), world, listener: this.#listener });
    this.#write();
  }

  get #listener(): ChannelListener {
    return {
      data: (channel, bytes) => {
        if (channel === OUTPUT) this.#got += Buffer.from(bytes).toString('latin1');
        this.#check(false);
      },
      control: (bytes) => {
        this.#exit = decodeHostControl(bytes).exit;
        this.#check(true);
        this.#ended = true;
        this.#channel?.finish();
      },
      writable: () => this.#write(),
      closed: (code) => this.#finish(code),
    };
  }

  #write(): void {
    const channel = this.#channel;
    if (!channel?.isOpen || this.#ended) return;
    for (
      let piece = this.#pieces[0];
      piece !== undefined && channel.writable(TO_HOST) >= piece.length;
      piece = this.#pieces[0]
    ) {
      this.#pieces.shift();
      this.#sent += piece;
      channel.write(TO_HOST, Buffer.from(piece));
      if (this.#run.chance.is(0.3)) break;
    }
    if (this.#pieces.length === 0) {
      this.#ended = true;
      return channel.write(TO_HOST, new Uint8Array(), true);
    }
    this.#run.timeline.after(this.#run.chance.between(10, 4000), () => this.#write(), this.process);
  }

  /** Bytes exactly once and in order, both ways; all of them when an exit code came. */
  #check(ended: boolean): void {
    const program = this.#program();
    const { violated } = this.#run;
    const rule = 'the bytes of a session arrive once and in order';
    if (!program) return this.#got === '' && !ended ? undefined : violated(rule, `${this.name} got output of nothing`);
    if (!this.#sent.startsWith(program.read)) violated(rule, `the program of ${this.name} read what was not sent`);
    if (!program.wrote.startsWith(this.#got)) violated(rule, `${this.name} got what was not written`);
    if (ended && program.wrote !== this.#got) violated(rule, `${this.name} lacks the end of the output`);
  }

  #finish(code: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#run.trace(() => `% client ${this.name} is done: ${code}, exit ${this.#exit ?? 'unknown'}`);
    if (code === 'done' && this.#exit === undefined)
      this.#run.violated('a session that is done has an exit code', this.name);
    this.#run.timeline.after(1000, () => this.#socket?.close(), this.process);
  }
}
