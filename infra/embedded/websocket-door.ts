import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

import { WebSocketServer, type WebSocket } from 'ws';

import { FairleadError } from '#shared/errors.ts';
import { encodeFrame } from '#shared/link/frames.ts';
import { error as errorEnvelope } from '#shared/lxd/envelope.ts';
import type { Authorization, AuthorizedEvent, ConnectEvent } from '../../functions/ports/events.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Links } from '../../functions/ports/links.ts';
import type { Log, Random } from '../../functions/ports/ports.ts';
import type { Chaos } from './chaos.ts';
import type { TimerClock } from './clock.ts';
import { CLOSE, openConnection, type Connection } from './connection.ts';
import { frameMeter } from './frame-meter.ts';
import { headersOf, sourceAddress } from './http-door.ts';
import type { Invocations } from './invocations.ts';
import { presentable } from './refusal.ts';
import type { GatewayRules } from './rules.ts';
import { tokenBucket, type TokenBucket } from './token-bucket.ts';

/** Where a websocket may be opened. */
const PATHS = new Set(['/1.0/fleet/link', '/1.0/events']);
const HEARTBEAT = JSON.stringify({ t: 'hb' });
/** Longer texts are not looked into for a heartbeat. */
const MAX_HEARTBEAT = 64;
const MAX_HANDSHAKES = 500;
/** API Gateway: what an authorizer returns is at most 8 KB. */
const MAX_CONTEXT_BYTES = 8192;
/** How long a closing handshake may take before the socket is cut. */
const CLOSE_TIMEOUT_MS = 2000;

export interface WebsocketDoorOptions {
  readonly rules: GatewayRules;
  readonly clock: TimerClock;
  readonly random: Random;
  readonly log: Log;
  readonly bucket: TokenBucket;
  readonly invocations: Invocations;
  readonly chaos: Chaos;
}

export interface WebsocketDoor {
  /** Posting to open connections, as the management API of API Gateway does. */
  readonly links: Links;
  upgrade(functions: Functions, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  closeAll(): void;
}

/** Websockets as API Gateway treats them: decided at the handshake, every message an invocation of its own, in no order. */
export function websocketDoor(options: WebsocketDoorOptions): WebsocketDoor {
  const { rules, clock, random, log, bucket, invocations, chaos } = options;
  const connects = tokenBucket(rules.connectsPerSecond, rules.connectsPerSecond, clock);
  const connections = new Map<string, Connection>();
  /** Connections whose `connect` is under way: without gating posts to them are taken and lost, as nobody is there yet. */
  const opening = new Set<string>();
  const server = new WebSocketServer(serverSettings(rules));

  const upgrade = async (
    functions: Functions,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): Promise<void> => {
    const connectionId = Buffer.from(random.bytes(11)).toString('base64');
    const gone = new AbortController();
    const cut = () => gone.abort();
    socket.once('error', cut).once('close', cut);
    let connected: AuthorizedEvent['requestContext'] | undefined;
    try {
      mustBeHandshake(request);
      if (opening.size >= MAX_HANDSHAKES || !connects())
        throw new FairleadError('rate_limited', 'too many connections open at once; try again in a moment');
      opening.add(connectionId);
      const event = connectEvent(request, connectionId);
      const authorizer = contextOf(await invocations.invoke(() => functions.authorize(event)), event, rules);
      const requestContext = { ...event.requestContext, authorizer };
      await invocations.invoke(() => functions.connect({ requestContext }));
      connected = requestContext;
      if (gone.signal.aborted) throw new FairleadError('cancelled', 'the client went away during the handshake');
      server.handleUpgrade(request, socket, head, (websocket) => {
        socket.off('error', cut).off('close', cut);
        meter(websocket, socket, rules.maxFrameBytes);
        accept(functions, websocket, requestContext);
      });
    } catch (error) {
      if (presentable(error).status >= 500) log.error('a websocket was refused', { error });
      refuse(socket, error);
      if (connected !== undefined) leave(functions, connected);
    } finally {
      opening.delete(connectionId);
    }
  };

  const accept = (functions: Functions, socket: WebSocket, context: AuthorizedEvent['requestContext']) => {
    const connection = openConnection({
      socket,
      context,
      rules,
      clock,
      chaos,
      receive: (connection, text) => receive(functions, connection, text),
      closed: () => {
        connections.delete(context.connectionId);
        leave(functions, context);
      },
    });
    connections.set(connection.id, connection);
  };

  const receive = async (functions: Functions, connection: Connection, text: string): Promise<void> => {
    const requestId = random.uuid();
    try {
      if (!bucket()) throw new FairleadError('rate_limited', 'Too Many Requests');
      // As a route with a mock integration: no function runs for a heartbeat.
      if (isHeartbeat(text)) await connection.send(HEARTBEAT);
      else await invocations.invoke(() => functions.message({ requestContext: connection.context, body: text }));
    } catch (error) {
      log.error('a message failed', { requestId, connection: connection.id, error });
      if (rules.errorFrames) report(connection, requestId, error);
    }
  };

  const report = (connection: Connection, requestId: string, error: unknown) => {
    const { code } = presentable(error);
    const message = MESSAGES[code] ?? 'Internal server error';
    connection.send(JSON.stringify({ message, connectionId: connection.id, requestId })).catch((cause: unknown) => {
      log.error('a client could not be told that its message failed', { requestId, error: cause });
    });
  };

  const leave = (functions: Functions, requestContext: AuthorizedEvent['requestContext']) => {
    chaos.disconnect(() => {
      invocations
        .invoke(() => functions.disconnect({ requestContext }))
        .catch((error: unknown) => {
          log.error('a disconnect failed', { connection: requestContext.connectionId, error });
        });
    });
  };

  const postText = async (id: string, text: string): Promise<'sent' | 'gone'> => {
    const connection = connections.get(id);
    if (connection === undefined) return !rules.connectGating && opening.has(id) ? 'sent' : 'gone';
    if (!bucket()) throw new FairleadError('unavailable', 'too many messages at once; send again later');
    return connection.send(text);
  };

  return {
    upgrade,
    closeAll: () => {
      for (const connection of connections.values()) connection.close(CLOSE.away, 'Going away');
    },
    links: {
      post: (id, frame) => postText(id, encodeFrame(frame)),
      postText,
      close: async (id) => connections.get(id)?.close(1000, ''),
    },
  };
}

/** API Gateway's own words; everything else is an internal error to a client. */
const MESSAGES: Readonly<Record<string, string>> = {
  timed_out: 'Endpoint request timed out',
  rate_limited: 'Too Many Requests',
};

function serverSettings(rules: GatewayRules) {
  const bound = (value: number) => (value === Infinity ? 0 : value);
  return {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: bound(rules.maxMessageBytes),
    maxFragments: bound(rules.maxFragments),
    closeTimeout: CLOSE_TIMEOUT_MS,
    // A subprotocol is echoed by the connect function or not at all, and ours has none.
    handleProtocols: () => false as const,
  };
}

function mustBeHandshake(request: IncomingMessage): void {
  const path = request.url?.split('?')[0] ?? '';
  if (!PATHS.has(path))
    throw new FairleadError('not_found', 'there is no websocket here; links open at /1.0/fleet/link');
  const { 'sec-websocket-key': key = '', 'sec-websocket-version': version } = request.headers;
  if (request.method !== 'GET' || version !== '13' || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new FairleadError('bad_request', 'this is no websocket handshake of version 13');
  }
}

function connectEvent(request: IncomingMessage, connectionId: string): ConnectEvent {
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  return {
    headers: headersOf(request),
    // The path goes last: no client chooses it by a parameter of that name.
    queryStringParameters: { ...Object.fromEntries(new URLSearchParams(query)), path },
    requestContext: { connectionId, sourceIp: sourceAddress(request) },
  };
}

/** The context of an allowed connection, as later events carry it. */
function contextOf(
  { allow, context }: Authorization,
  event: ConnectEvent,
  rules: GatewayRules,
): Readonly<Record<string, string>> {
  if (!allow && event.headers['authorization'] === undefined)
    throw new FairleadError('unauthenticated', 'this websocket needs credentials');
  if (!allow) throw new FairleadError('forbidden', 'these credentials open no websocket here');
  if (Buffer.byteLength(JSON.stringify(context)) > MAX_CONTEXT_BYTES) {
    throw new FairleadError('internal', `the authorizer's context is over ${MAX_CONTEXT_BYTES} bytes`);
  }
  return rules.stringContext
    ? Object.fromEntries(Object.entries<unknown>(context).map(([name, value]) => [name, String(value)]))
    : context;
}

/** Lets the meter see every byte before `ws` does. */
function meter(websocket: WebSocket, socket: Duplex, maxFrameBytes: number): void {
  const within = frameMeter(maxFrameBytes);
  const look = (chunk: Buffer) => {
    if (within(chunk)) return;
    socket.off('data', look);
    websocket.close(CLOSE.size, 'frame too large');
  };
  socket.prependListener('data', look);
}

function isHeartbeat(text: string): boolean {
  if (text.length > MAX_HEARTBEAT || !text.includes('"hb"')) return false;
  try {
    const frame: unknown = JSON.parse(text);
    return typeof frame === 'object' && frame !== null && 't' in frame && frame.t === 'hb';
  } catch {
    // No JSON: the function says so.
    return false;
  }
}

function refuse(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return;
  const { status, message } = presentable(error);
  const body = JSON.stringify(errorEnvelope(status, message));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Connection: close',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
