import { once } from 'node:events';

import { WebSocket, type ClientOptions } from 'ws';

import type { Functions } from '../../functions/functions.ts';
import type { ConnectEvent, MessageEvent } from '../../functions/ports/events.ts';
import { selfSigned } from './certificate.ts';
import { systemClock } from './clock.ts';
import { openGateway, type Gateway, type GatewayOptions, type Served } from './gateway.ts';
import { createLog } from './log.ts';
import { systemRandom } from './random.ts';

export interface TestGateway extends Pick<Gateway, 'links' | 'stop'> {
  readonly url: string;
  readonly port: number;
  /** The certificate to trust. */
  readonly ca: string;
  readonly lines: readonly string[];
}

const tls = selfSigned(['127.0.0.1'], systemClock(), systemRandom);

const functionsThatAllow: Functions = {
  http: () => Promise.reject(new Error('not expected')),
  authorize: async () => ({ allow: true, context: {} }),
  connect: async () => {},
  message: async () => {},
  disconnect: async () => {},
  job: async () => {},
};

/** A real gateway on a free port, for tests; what is not given allows everything and does nothing. */
export async function openTestGateway(
  functions: Partial<Functions>,
  { objects, ...options }: Partial<GatewayOptions> & { readonly objects?: Served['objects'] } = {},
): Promise<TestGateway> {
  const lines: string[] = [];
  const clock = options.clock ?? systemClock();
  const log = createLog({ clock, write: (line) => lines.push(line) });
  const listen = { host: '127.0.0.1', port: 0 };
  const { address, links, serve, stop } = await openGateway({
    listen,
    tls,
    random: systemRandom,
    log,
    ...options,
    clock,
  });
  serve({
    functions: { ...functionsThatAllow, ...functions },
    objects: objects ?? (() => Promise.reject(new Error('not expected'))),
  });
  return { url: `https://127.0.0.1:${address.port}`, port: address.port, ca: tls.certificate, lines, links, stop };
}

export interface TestClient {
  readonly socket: WebSocket;
  readonly received: string[];
  /** Close code, once closed. */
  readonly closed: Promise<number>;
}

/** A websocket that is opening; it asks for compression, which it must not get. */
export function dialGateway(
  gateway: TestGateway,
  path: string,
  options: ClientOptions = {},
  protocols: string[] = [],
): WebSocket {
  return new WebSocket(gateway.url.replace('https', 'wss') + path, protocols, {
    ca: gateway.ca,
    perMessageDeflate: true,
    ...options,
  });
}

/** An open websocket that remembers what it got. */
export async function openTestClient(
  gateway: TestGateway,
  path: string,
  options: ClientOptions = {},
): Promise<TestClient> {
  const socket = dialGateway(gateway, path, options);
  const received: string[] = [];
  socket.on('message', (data: Buffer, isBinary) => received.push(isBinary ? '(binary)' : data.toString()));
  socket.on('error', () => undefined);
  const closed = new Promise<number>((resolve) => socket.once('close', (code) => resolve(code)));
  await once(socket, 'open');
  return { socket, received, closed };
}

/** Functions that remember what they were called with. */
export function recording() {
  const calls = {
    authorized: [] as ConnectEvent[],
    connected: [] as string[],
    messages: [] as MessageEvent[],
    gone: [] as string[],
  };
  const functions: Partial<Functions> = {
    authorize: async (event) => {
      calls.authorized.push(event);
      return { allow: true, context: { kind: 'host', host: 'h1' } };
    },
    connect: async ({ requestContext }) => void calls.connected.push(requestContext.connectionId),
    message: async (event) => void calls.messages.push(event),
    disconnect: async ({ requestContext }) => void calls.gone.push(requestContext.connectionId),
  };
  return { calls, functions };
}
