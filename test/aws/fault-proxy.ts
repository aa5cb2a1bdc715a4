import { once } from 'node:events';
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

import { s3Overrides, s3Refusal, vouched, type Credentials } from './s3-rules.ts';

/**
 * What goes wrong with one request. `applied` says whether the service did what was asked.
 * `error` is answered with that status and error type; `lost` is not answered, the connection breaks; `late` is answered after so many ms.
 */
export type Fault =
  | Failure
  | { readonly kind: 'lost'; readonly applied: boolean }
  | { readonly kind: 'late'; readonly ms: number };

interface Failure {
  readonly kind: 'error';
  readonly status: number;
  readonly type: string;
  readonly message?: string;
  readonly applied: boolean;
}

/** One request that came by: the DynamoDB operation, or the method and path. */
export interface Seen {
  readonly what: string;
  readonly body: Buffer;
}

export interface FaultProxy {
  readonly url: string;
  /** What came by since {@link FaultProxy.begin}. */
  readonly seen: readonly Seen[];
  /** The next requests meet these faults, one each; what was seen before is forgotten. */
  begin(...faults: (Fault | 'pass')[]): void;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** A proxy before an AWS service that breaks what it is told to, and that keeps S3's rules which the service behind it leaves out. */
export async function openFaultProxy(target: string, credentials: Credentials): Promise<FaultProxy> {
  const agent = new Agent({ keepAlive: true });
  let faults: (Fault | 'pass')[] = [];
  let seen: Seen[] = [];

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await bodyOf(request);
    seen.push({ what: whatIs(request), body });
    const fault = faults.shift() ?? 'pass';
    const refusal = s3Refusal(request, body, credentials);
    if (refusal !== undefined) return respond(response, refusal);
    if (fault === 'pass') return respond(response, await forward(agent, target, request, body));
    if (fault.kind === 'late') {
      await pause(fault.ms);
      return respond(response, await forward(agent, target, request, body));
    }
    if (fault.applied) await forward(agent, target, request, body);
    if (fault.kind === 'lost') request.socket.destroy();
    else respond(response, errorAnswer(fault));
  };

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get seen() {
      return seen;
    },
    begin: (...next) => {
      faults = next;
      seen = [];
    },
    close: async () => {
      server.closeAllConnections();
      agent.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function whatIs(request: IncomingMessage): string {
  const target = request.headers['x-amz-target'];
  return typeof target === 'string' ? (target.split('.')[1] ?? '') : `${request.method} ${request.url?.split('?')[0]}`;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function forward(agent: Agent, target: string, request: IncomingMessage, body: Buffer): Promise<Answer> {
  const { method, url = '/' } = request;
  const passed = httpRequest(`${target}${url}`, { method, headers: vouched(request), agent }).end(body);
  const [answer] = (await once(passed, 'response')) as [IncomingMessage];
  const headers = { ...answer.headers, ...s3Overrides(request) };
  return { status: answer.statusCode ?? 502, headers, body: await bodyOf(answer) };
}

/** As DynamoDB and API Gateway say it. */
function errorAnswer({ status, type, message = `injected ${type}` }: Failure): Answer {
  const body = Buffer.from(JSON.stringify({ __type: type, message }));
  return { status, headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-errortype': type }, body };
}

function respond(response: ServerResponse, { status, headers, body }: Answer): void {
  const { 'transfer-encoding': _encoding, connection: _connection, ...rest } = headers;
  response.writeHead(status, rest).end(body);
}
