import { createServer as createTcp, type AddressInfo, type Server, type Socket as TcpSocket } from 'node:net';
import { createServer as createTls } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { WebSocketServer, type WebSocket } from 'ws';

import { decodeUp, encodeFrame, type DownFrame, type UpFrame } from '#shared/link/frames.ts';

/** Where a dial gets stuck, or how it is turned away. */
export type Mood =
  | 'fine'
  | 'mute-tcp'
  | 'mute-nonce'
  | 'mute-upgrade'
  | 'mute-welcome'
  | 'refuse-nonce'
  | 'refuse-upgrade';

/** One websocket that came in. */
export interface Guest {
  /** Path and query. */
  readonly path: string;
  readonly authorization: string;
  readonly frames: UpFrame[];
  readonly open: boolean;
  send(frame: DownFrame): void;
  cut(): void;
}

/** A gateway on a real port with real TLS, for tests of the link: it does what a test tells it, and writes down what came. */
export interface MockGateway {
  readonly url: string;
  mood: Mood;
  readonly guests: Guest[];
  readonly posts: { path: string; body: unknown }[];
  /** What `welcome` carries besides its usual. */
  welcome: Partial<Extract<DownFrame, { t: 'welcome' }>>;
  /** Answers a POST instead of the nonce. */
  answer: ((path: string) => { status: number; body: unknown }) | undefined;
  close(): Promise<void>;
}

/** Listens on a port of 127.0.0.1 that is free. */
export async function mockGateway(tls: { certificate: string; key: string }): Promise<MockGateway> {
  const sockets = new Set<TcpSocket>();
  const guests: Guest[] = [];
  const posts: { path: string; body: unknown }[] = [];
  const gateway = {
    url: '',
    mood: 'fine' as Mood,
    guests,
    posts,
    welcome: {},
    answer: undefined,
  } as unknown as MockGateway;
  const edge = createTls(
    { cert: tls.certificate, key: tls.key },
    (request, response) => void post(gateway, request, response),
  );
  const upgrade = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  edge.on('upgrade', (request, socket, head) => {
    if (gateway.mood === 'mute-upgrade') return;
    if (gateway.mood === 'refuse-upgrade') {
      const text = JSON.stringify({ type: 'error', error: 'this host was revoked', error_code: 403 });
      socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
      return;
    }
    upgrade.handleUpgrade(request, socket, head, (ws) => guests.push(guest(gateway, ws, request)));
  });
  // TLS stands behind plain TCP, so that a test can stop a dial at either.
  const front = createTcp((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    if (gateway.mood !== 'mute-tcp') edge.emit('connection', socket);
  });
  const port = await listen(front);
  return Object.assign(gateway, {
    url: `https://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        front.close(() => resolve());
      }),
  });
}

function guest(gateway: MockGateway, ws: WebSocket, request: IncomingMessage): Guest {
  const frames: UpFrame[] = [];
  const send = (frame: DownFrame): void => ws.send(encodeFrame(frame));
  ws.on('message', (data: Buffer) => {
    const frame = decodeUp(data.toString());
    frames.push(frame);
    if (frame.t === 'hello' && gateway.mood !== 'mute-welcome') {
      send({ t: 'welcome', conn: 'c', now: Date.now(), heartbeatMs: 480_000, rotateMs: 6_000_000, ...gateway.welcome });
    }
    if (frame.t === 'hb' && gateway.mood === 'fine') send({ t: 'hb' });
  });
  return {
    path: String(request.url),
    authorization: String(request.headers.authorization),
    frames,
    send,
    cut: () => ws.terminate(),
    get open() {
      return ws.readyState === ws.OPEN;
    },
  };
}

async function post(gateway: MockGateway, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = '';
  for await (const part of request as AsyncIterable<Buffer>) text += part.toString();
  const path = String(request.url);
  gateway.posts.push({ path, body: JSON.parse(text) });
  if (gateway.mood === 'mute-nonce') return;
  const refused = { status: 401, body: { type: 'error', error: 'no such host', error_code: 401 } };
  const nonce = {
    status: 200,
    body: { type: 'sync', metadata: { nonce: `n${gateway.posts.length}`, now: Date.now() } },
  };
  const { status, body } = gateway.mood === 'refuse-nonce' ? refused : (gateway.answer?.(path) ?? nonce);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
}
