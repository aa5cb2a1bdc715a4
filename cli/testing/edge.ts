import type { WebSocket } from 'ws';

import { Channel, type ChannelListener } from '#shared/link/channel.ts';
import { decodeUp, encodeFrame, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { decodeClientControl, encodeControl, type ClientControl } from '#shared/link/session.ts';
import type { LinkWorld } from '../client/link.ts';
import type { TestServer } from './server.ts';

/** Real time, and no waiting before a reconnect. */
export const world: LinkWorld = {
  now: () => performance.now(),
  random: () => 0,
  schedule(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};

/** The edge and the host behind it, as one: answers hello and attach, and holds the host's end of the stream. */
export class Edge {
  readonly frames: UpFrame[] = [];
  readonly sockets: WebSocket[] = [];
  readonly controls: ClientControl[] = [];
  received = '';
  /** The client's input ended. */
  ended = false;
  /** How the stream ended for the host. */
  closed: string | undefined;
  channel: Channel | undefined;
  /** Answers attaches; set to refuse or to stay silent. */
  onAttach: (id: string) => void = (id) => {
    this.open();
    this.send({ t: 'attached', id, s: 'stream', g: 'g1' });
  };

  /** May swallow a hello. */
  onHello: (answer: () => void) => void = (answer) => answer();

  constructor(server: TestServer) {
    server.onSocket = (socket, path) => {
      if (path !== '/1.0/fleet/link') return socket.close(1008, `no link at ${path}`);
      this.sockets.push(socket);
      socket.on('message', (data: Buffer) => this.#take(decodeUp(data.toString())));
      socket.on('close', () => {
        if (socket === this.sockets.at(-1)) this.channel?.disconnected();
      });
      return undefined;
    };
  }

  send(frame: DownFrame): void {
    const socket = this.sockets.at(-1);
    if (socket?.readyState === socket?.OPEN) socket?.send(encodeFrame(frame));
  }

  open(): void {
    const listener: ChannelListener = {
      data: (_, bytes, end) => {
        this.received += Buffer.from(bytes).toString();
        this.ended ||= end;
      },
      control: (bytes) => {
        this.controls.push(decodeClientControl(bytes));
      },
      writable() {},
      closed: (code) => {
        this.closed = code;
      },
    };
    this.channel ??= new Channel({ id: 'stream', ticket: 'host', send: (frame) => this.send(frame), world, listener });
  }

  /** The command ends. */
  exit(code: number): void {
    this.channel?.control(encodeControl({ exit: code }));
    this.channel?.finish();
  }

  #welcome(): void {
    this.send({ t: 'welcome', conn: 'c', now: 0, heartbeatMs: 60_000, rotateMs: 3_600_000 });
    if (!this.channel) return;
    this.send({ t: 'resume', streams: [{ s: 'stream', g: 'g2' }] });
    this.channel.resume('host', (down) => this.send(down));
  }

  #take(frame: UpFrame): void {
    this.frames.push(frame);
    if (frame.t === 'hello') this.onHello(() => this.#welcome());
    if (frame.t === 'attach') this.onAttach(frame.id);
    if (frame.t === 'd' || frame.t === 'a' || frame.t === 'rst') this.channel?.receive(frame);
  }
}
