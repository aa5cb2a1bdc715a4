import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { WebSocketServer, type WebSocket } from 'ws';

import { async, error, sync } from '#shared/lxd/envelope.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { statusFields, STATUS } from '#shared/lxd/status.ts';
import { fingerprintOf, selfSigned } from '../../infra/embedded/certificate.ts';
import { systemClock } from '../../infra/embedded/clock.ts';
import { systemRandom } from '../../infra/embedded/random.ts';
import type { Settings } from '../client/settings.ts';

/** A control plane of a few lines for tests: real TLS, HTTP and websockets; each test says what it answers. */

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
  readonly raw: Buffer;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** An envelope, or text, or bytes. */
  readonly body: unknown;
}

/** `GET /1.0/profiles` → what to answer. */
export type Routes = Readonly<Record<string, (request: Request) => Reply | Promise<Reply>>>;

export const TOKEN = 'test-token';
const identity = selfSigned(['localhost', '127.0.0.1'], systemClock(), systemRandom);

export class TestServer implements AsyncDisposable {
  readonly seen: Request[] = [];
  /** Websocket connections by path, as they come; set before one is made. */
  onSocket: (socket: WebSocket, path: string) => void = (socket) => socket.close(1008);
  connections = 0;
  readonly #server: Server;

  private constructor(routes: Routes) {
    this.#server = createServer({ cert: identity.certificate, key: identity.key }, (request, response) => {
      void this.#answer(routes, request, response);
    });
    this.#server.on('secureConnection', () => (this.connections += 1));
    const sockets = new WebSocketServer({ noServer: true });
    this.#server.on('upgrade', (request, socket, head) => {
      if (request.headers.authorization !== `Bearer ${TOKEN}`) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      sockets.handleUpgrade(request, socket, head, (ws) => this.onSocket(ws, request.url ?? ''));
      return undefined;
    });
  }

  static async start(routes: Routes = {}): Promise<TestServer> {
    const server = new TestServer(routes);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get settings(): Settings {
    return { url: this.url, token: TOKEN, fingerprint: fingerprintOf(identity.certificate), source: 'the test' };
  }

  /** What the command needs in its environment to come here. */
  get env(): Record<string, string> {
    return { FAIRLEAD_URL: this.url, FAIRLEAD_TOKEN: TOKEN, FAIRLEAD_FINGERPRINT: fingerprintOf(identity.certificate) };
  }

  /** `METHOD path` of each request so far, with the query. */
  get calls(): string[] {
    return this.seen.map(({ method, path, query }) => {
      const text = new URLSearchParams(query).toString();
      return `${method} ${path}${text === '' ? '' : `?${text}`}`;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(routes: Routes, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const target = new URL(incoming.url ?? '/', this.url);
    const json = incoming.headers['content-type'] === 'application/json';
    const request: Request = {
      method: incoming.method ?? '',
      path: target.pathname,
      query: Object.fromEntries(target.searchParams),
      headers: incoming.headers,
      body: json && raw.length > 0 ? JSON.parse(raw.toString()) : undefined,
      raw,
    };
    const route = routes[`${request.method} ${request.path}`] ?? USUAL[`${request.method} ${request.path}`];
    if (route !== USUAL['GET /1.0']) this.seen.push(request);
    const reply = (await route?.(request)) ?? notFound(`no route ${request.method} ${request.path}`);
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
    const { body } = reply;
    response.end(typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body));
  }
}

/** What every control plane answers; not counted as seen. */
const USUAL: Routes = { 'GET /1.0': () => ok({ environment: {} }) };

/** A sync envelope. */
export function ok(metadata: unknown, headers: Record<string, string> = {}): Reply {
  return { body: sync(metadata), headers };
}

/** An async envelope. */
export function started(operation: Operation): Reply {
  return { status: 202, body: async(operation) };
}

export function refused(status: number, message: string): Reply {
  return { status, body: error(status, message) };
}

export function notFound(message: string): Reply {
  return refused(404, message);
}

/** An operation that succeeded, but for what is given. */
export function operation(fields: Partial<Operation> = {}): Operation {
  return {
    id: '0bd1dea0-a939-4ec4-8c57-dab413df6d1a',
    class: 'task',
    description: 'Creating instance',
    created_at: '2026-11-20T18:05:00Z',
    updated_at: '2026-11-20T18:05:00Z',
    ...statusFields(STATUS.success),
    resources: null,
    metadata: null,
    may_cancel: false,
    err: '',
    location: 'foo',
    ...fields,
  };
}
