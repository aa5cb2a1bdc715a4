import type { IncomingMessage, ServerResponse } from 'node:http';

import { FairleadError } from '#shared/errors.ts';
import type { HttpEvent, HttpResult } from '../../functions/ports/events.ts';
import type { Log, Random } from '../../functions/ports/ports.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Invocations } from './invocations.ts';
import { answerError } from './refusal.ts';
import type { GatewayRules } from './rules.ts';
import type { TokenBucket } from './token-bucket.ts';

/** Types whose bodies reach the function as text; all others as base64, as an HTTP API does it. */
const TEXT_TYPE = /^(text\/|application\/(json|javascript|xml)\b|application\/[\w.-]+\+json\b)/i;
/** Headers that a front of ours would set: whoever sends them to us directly has made them up (R3). */
const FRONT_HEADER = /^(x-forwarded-|forwarded$|x-amzn-|x-amz-cf-|cloudfront-|x-real-ip$)/;
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'proxy-connection',
  'expect',
]);

export interface HttpDoorOptions {
  readonly rules: GatewayRules;
  readonly random: Random;
  readonly log: Log;
  readonly bucket: TokenBucket;
  readonly invocations: Invocations;
}

/** Turns a request into an event, runs `functions.http`, and its result into the response. */
export function httpDoor({ rules, random, log, bucket, invocations }: HttpDoorOptions) {
  return async (functions: Functions, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const requestId = random.uuid();
    try {
      if (!bucket()) throw new FairleadError('rate_limited', 'too many requests at once; try again in a moment');
      const event = await eventOf(request, requestId, rules);
      const result = await invocations.invoke(() => functions.http(event));
      answer(request, response, result, rules.maxResponseBytes);
    } catch (error) {
      // Nobody is there any more to be answered.
      if (response.destroyed || (request.destroyed && !request.complete)) return;
      if (!(error instanceof FairleadError) || error.status >= 500)
        log.error('a request failed', { requestId, method: request.method, error });
      if (response.headersSent) response.destroy();
      else answerError(request, response, error);
    }
  };
}

async function eventOf(request: IncomingMessage, requestId: string, rules: GatewayRules): Promise<HttpEvent> {
  const target = request.url ?? '';
  if (!target.startsWith('/')) throw new FairleadError('bad_request', 'the request target must be a path');
  const cut = target.indexOf('?');
  const body = await readBody(request, rules);
  return {
    version: '2.0',
    rawPath: cut < 0 ? target : target.slice(0, cut),
    rawQueryString: cut < 0 ? '' : target.slice(cut + 1),
    headers: headersOf(request),
    ...bodyOf(request, body),
    requestContext: { http: { method: request.method ?? 'GET', sourceIp: sourceAddress(request) }, requestId },
  };
}

/** Headers as events carry them: lower-case, several values joined, without those of the hop and those only a front may set. */
export function headersOf(request: IncomingMessage): Record<string, string> {
  const headers = Object.entries(request.headersDistinct).filter(
    ([name]) => !FRONT_HEADER.test(name) && !HOP_BY_HOP.has(name),
  );
  return Object.fromEntries(headers.map(([name, values = []]) => [name, values.join(',')]));
}

/** The other end's address; IPv4 as such also on a socket for both. */
export function sourceAddress(request: IncomingMessage): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

function bodyOf(request: IncomingMessage, body: Buffer): Pick<HttpEvent, 'body' | 'isBase64Encoded'> {
  if (body.length === 0) return { isBase64Encoded: false };
  // Decoding what is no UTF-8 would change it, so it goes as it is.
  const asText = TEXT_TYPE.test(request.headers['content-type'] ?? '') && Buffer.from(body.toString()).equals(body);
  return { body: body.toString(asText ? 'utf8' : 'base64'), isBase64Encoded: !asText };
}

/** The body by counted bytes, whatever the headers claim. */
async function readBody(request: IncomingMessage, { maxBodyBytes, bodyTimeoutMs }: GatewayRules): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      settle(() => reject(new FairleadError('timed_out', `the body did not arrive within ${bodyTimeoutMs / 1000} s`)));
    }, bodyTimeoutMs);
    const take = (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxBodyBytes) settle(() => reject(tooLarge(maxBodyBytes)));
      else chunks.push(chunk);
    };
    const end = () => settle(() => resolve(Buffer.concat(chunks)));
    const fail = () => settle(() => reject(new FairleadError('bad_request', 'the request broke off')));
    const settle = (outcome: () => void) => {
      clearTimeout(timer);
      request.off('data', take).off('end', end).off('close', fail);
      outcome();
    };
    request.on('data', take).on('end', end).on('close', fail).on('error', fail);
  });
}

function tooLarge(bound: number): FairleadError {
  return new FairleadError(
    'body_too_large',
    `a request body is at most ${bound} bytes; upload images in parts through POST /1.0/fleet/uploads`,
  );
}

function answer(request: IncomingMessage, response: ServerResponse, result: HttpResult, maxBytes: number): void {
  const body = Buffer.from(result.body, result.isBase64Encoded ? 'base64' : 'utf8');
  if (body.length > maxBytes) {
    throw new FairleadError(
      'internal',
      `the answer has ${body.length} bytes, over the ${maxBytes} that an answer may have`,
    );
  }
  const bodyless = result.statusCode === 204 || result.statusCode === 304;
  response.writeHead(result.statusCode, { ...result.headers, ...(!bodyless && { 'content-length': body.length }) });
  response.end(request.method === 'HEAD' || bodyless ? undefined : body);
}
