import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { FairleadError } from '#shared/errors.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Links } from '../../functions/ports/links.ts';
import type { Log, Random } from '../../functions/ports/ports.ts';
import { waitAtMost } from './bounded-wait.ts';
import type { Certificate } from './certificate.ts';
import { createChaos, noChaos, type ChaosOptions } from './chaos.ts';
import type { TimerClock } from './clock.ts';
import { httpDoor } from './http-door.ts';
import { createInvocations } from './invocations.ts';
import { listen, type ListenAddress } from './listen.ts';
import { answerError } from './refusal.ts';
import { DEFAULT_RULES, type GatewayRules } from './rules.ts';
import { OBJECTS_PATH } from './signed-urls.ts';
import { tokenBucket } from './token-bucket.ts';
import { websocketDoor } from './websocket-door.ts';

/** How long running invocations may go on after the gateway was told to stop. */
const STOP_MS = 5000;
const TLS_HANDSHAKE_MS = 10_000;
/** How often Node looks for connections whose headers take too long. */
const CHECK_MS = 1000;

export interface GatewayOptions {
  readonly listen: ListenAddress;
  readonly tls: Certificate;
  readonly clock: TimerClock;
  readonly random: Random;
  readonly log: Log;
  readonly rules?: Partial<GatewayRules> | undefined;
  /** For tests: what the cloud may do to messages and invocations, and rarely does. */
  readonly chaos?: ChaosOptions | undefined;
}

/** What the gateway routes to. */
export interface Served {
  readonly functions: Functions;
  /** Answers requests below {@link OBJECTS_PATH}. */
  readonly objects: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

export interface Gateway {
  /** Where it listens; the port is the real one. */
  readonly address: ListenAddress;
  readonly links: Links;
  /** From now on requests are served; before, they are answered 503. */
  readonly serve: (served: Served) => void;
  /** Takes no more, closes websockets with 1001, and waits a few seconds for what runs. */
  readonly stop: () => Promise<void>;
}

/**
 * Opens the local gateway: one HTTPS port that stands for API Gateway (HTTP and websockets) and the object store, under their rules.
 * @throws FairleadError `unavailable` when it cannot listen there.
 */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { clock, random, log, tls } = options;
  const rules = { ...DEFAULT_RULES, ...options.rules };
  const chaos = options.chaos === undefined ? noChaos : createChaos(options.chaos, clock);
  const invocations = chaos.cold(createInvocations(rules.maxConcurrency, rules.integrationTimeoutMs, clock));
  const bucket = chaos.throttled(tokenBucket(rules.requestsPerSecond, rules.requestBurst, clock));
  const http = httpDoor({ rules, random, log, bucket, invocations });
  const websockets = websocketDoor({ rules, clock, random, log, bucket, invocations, chaos });
  let served: Served | undefined;

  const server = secureServer(tls, rules);
  limitConnections(server, rules);
  const request = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (served === undefined) answerError(request, response, starting());
    else if (request.rawHeaders.length / 2 > rules.maxHeaders) {
      answerError(
        request,
        response,
        new FairleadError('bad_request', `a request has at most ${rules.maxHeaders} headers`),
      );
    } else if (request.url?.startsWith(OBJECTS_PATH)) await served.objects(request, response);
    else await http(served.functions, request, response);
  };
  server.on('request', (incoming: IncomingMessage, response: ServerResponse) => {
    request(incoming, response).catch((error: unknown) => {
      log.error('a request was cut', { error });
      response.destroy();
    });
  });
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (served === undefined) socket.destroy();
    else void websockets.upgrade(served.functions, incoming, socket, head);
  });
  const address = await listen(server, options.listen);

  return {
    address,
    links: websockets.links,
    serve: (what) => {
      served = what;
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      websockets.closeAll();
      await waitAtMost(closed, STOP_MS);
      await waitAtMost(invocations.idle(), STOP_MS);
      server.closeAllConnections();
    },
  };
}

function secureServer(tls: Certificate, rules: GatewayRules): Server {
  const server = createServer({
    cert: tls.certificate,
    key: tls.key,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: TLS_HANDSHAKE_MS,
    headersTimeout: rules.headersTimeoutMs,
    // Objects take as long as they take; the http door has a time for bodies of its own.
    requestTimeout: 0,
    keepAliveTimeout: rules.keepAliveMs,
    connectionsCheckingInterval: Math.min(CHECK_MS, rules.headersTimeoutMs),
    maxHeaderSize: rules.maxHeaderBytes,
    // Other upgrades (h2c) are plain requests to us.
    shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  server.timeout = rules.stallTimeoutMs;
  // One more than is allowed, so that too many are seen rather than left out.
  server.maxHeadersCount = rules.maxHeaders + 1;
  return server;
}

/** Bounds open connections, all and of one address, before any TLS is spoken. */
function limitConnections(server: Server, { maxConnections, maxConnectionsPerAddress }: GatewayRules): void {
  if (maxConnections !== Infinity) server.maxConnections = maxConnections;
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const from = socket.remoteAddress ?? '';
    const count = (open.get(from) ?? 0) + 1;
    if (count > maxConnectionsPerAddress) {
      socket.destroy();
      return;
    }
    open.set(from, count);
    socket.once('close', () => {
      const left = (open.get(from) ?? 1) - 1;
      if (left === 0) open.delete(from);
      else open.set(from, left);
    });
  });
}

function starting(): FairleadError {
  return new FairleadError('unavailable', 'Fairlead is starting; try again in a moment');
}
