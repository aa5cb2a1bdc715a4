/** A client that stays: one keep-alive connection for the API, one websocket for any number of streams. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WebSocket } from 'ws';

import { LINK_PATH, unmasked } from '#shared/link/address.ts';
import { Channel, type ChannelListener } from '#shared/link/channel.ts';
import { decodeDown, encodeFrame, fromWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { PROTOCOL_VERSION } from '#shared/link/limits.ts';
import { decodeHostControl, OUTPUT } from '#shared/link/session.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { STATUS } from '#shared/lxd/status.ts';
import { ControlPlane } from '../../cli/client/http.ts';
import { agentFor } from '../../cli/client/pinned.ts';
import { realWorld } from '../../host-connector/world.ts';

const WAIT_S = 25;

/** The API of the control plane whose data are in `dataDir`, as its local user. */
export async function clientOf(dataDir: string): Promise<ControlPlane> {
  const settings = JSON.parse(await readFile(join(dataDir, 'client.json'), 'utf8')) as {
    url: string;
    token: string;
    fingerprint: string;
  };
  return new ControlPlane({ ...settings, source: 'bench' }, agentFor(settings.fingerprint));
}

/** Waits until an operation is final. @throws Error when it failed */
export async function finish(api: ControlPlane, { id }: Pick<Operation, 'id'>): Promise<Operation> {
  for (;;) {
    const operation = await api.get<Operation>(`/1.0/operations/${id}/wait`, { timeout: WAIT_S });
    if (operation.status_code === STATUS.success) return operation;
    if (operation.status_code >= 400) throw new Error(operation.err);
  }
}

interface Attaching {
  readonly resolve: (channel: Channel) => void;
  readonly reject: (error: unknown) => void;
  readonly listener: ChannelListener;
}

/** An open link of a client. It is not dialled again when it is lost. */
export class OpenLink {
  readonly #socket: WebSocket;
  readonly #boot = randomUUID();
  readonly #attaching = new Map<string, Attaching>();
  readonly #channels = new Map<string, Channel>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** Dials and says hello; resolves when it was welcomed. */
  static async open(api: ControlPlane): Promise<OpenLink> {
    const { url, agent, headers } = await api.socket(LINK_PATH);
    const socket = new WebSocket(url, { agent, headers, perMessageDeflate: false, generateMask: unmasked });
    await once(socket, 'open');
    const link = new OpenLink(socket);
    const welcomed = Promise.withResolvers<void>();
    socket.on('message', (data: Buffer) => link.#receive(decodeDown(data.toString()), welcomed.resolve));
    link.#send({ t: 'hello', v: PROTOCOL_VERSION, boot: link.#boot });
    await welcomed.promise;
    return link;
  }

  /** Spends an operation's secrets on a stream. */
  attach(operation: Operation, listener: ChannelListener): Promise<Channel> {
    const secrets = operation.metadata?.['fds'] as Record<string, string>;
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      this.#attaching.set(id, { resolve, reject, listener });
      this.#send({ t: 'attach', id, boot: this.#boot, op: operation.id, secrets });
    });
  }

  close(): void {
    this.#socket.terminate();
  }

  #send(frame: UpFrame): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encodeFrame(frame));
  }

  #receive(frame: DownFrame, welcomed: () => void): void {
    if (frame.t === 'welcome') welcomed();
    else if (frame.t === 'attached') this.#attached(frame);
    else if (frame.t === 'refused') this.#attaching.get(frame.id)?.reject(fromWire(frame.error));
    else if (frame.t === 'd' || frame.t === 'a' || frame.t === 'rst') {
      const channel = this.#channels.get(frame.s);
      channel?.receive(frame);
      if (channel?.over) this.#channels.delete(frame.s);
    }
  }

  #attached({ id, s, g }: Extract<DownFrame, { t: 'attached' }>): void {
    const attaching = this.#attaching.get(id);
    if (attaching === undefined) return;
    this.#attaching.delete(id);
    const { listener } = attaching;
    const channel = new Channel({ id: s, ticket: g, send: (frame) => this.#send(frame), world: realWorld, listener });
    this.#channels.set(s, channel);
    attaching.resolve(channel);
  }
}

/** Runs a command and reads it to its end; its exit code and the bytes of its standard output. */
export async function exec(
  api: ControlPlane,
  link: OpenLink,
  instance: string,
  command: readonly string[],
): Promise<{ code: number; bytes: number }> {
  const body = { command, environment: {}, interactive: false, 'wait-for-websocket': true };
  const operation = await api.start('POST', `/1.0/instances/${instance}/exec`, { body });
  const ended = Promise.withResolvers<number>();
  let bytes = 0;
  const channel = await link.attach(operation, {
    data: (channel, chunk) => {
      if (channel === OUTPUT) bytes += chunk.length;
    },
    control: (message) => ended.resolve(decodeHostControl(message).exit),
    writable: () => undefined,
    closed: (code, message) => ended.reject(new Error(`the session ended early: ${code} ${message}`)),
  });
  channel.write(0, Buffer.alloc(0), true);
  const code = await ended.promise;
  channel.finish();
  return { code, bytes };
}
