import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';

import type { HttpEvent, HttpResult } from '../ports/events.ts';
import type { Ports } from '../ports/ports.ts';
import { createApp } from './app.ts';

/** Content types that travel as text; everything else goes base64. */
const TEXTUAL = /^(text\/|application\/json)/;
/**
 * Texts from this size on are compressed for whoever takes it (LXD's clients and browsers do): ten thousand instances are 22 MB, and Lambda
 * hands back 6 MB.
 */
const COMPRESSED_FROM_BYTES = 64 * 1024;

const compress = promisify(gzip);

/** The HTTP entry point: a gateway's event in, its result out, around a plain fetch handler. */
export function createHttpHandler(ports: Ports): (event: HttpEvent) => Promise<HttpResult> {
  const app = createApp(ports);
  return async (event) => {
    const { sourceIp } = event.requestContext.http;
    const response = await app.fetch(toRequest(event), { sourceIp });
    return toResult(response, event.headers['accept-encoding'] ?? '');
  };
}

function toRequest(event: HttpEvent): Request {
  const { method } = event.requestContext.http;
  const query = event.rawQueryString === '' ? '' : `?${event.rawQueryString}`;
  const hasBody = event.body !== undefined && method !== 'GET' && method !== 'HEAD';
  const body = hasBody ? Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8') : null;
  return new Request(`https://gateway${event.rawPath}${query}`, { method, headers: { ...event.headers }, body });
}

async function toResult(response: Response, accepted: string): Promise<HttpResult> {
  const { status: statusCode } = response;
  const headers = Object.fromEntries(response.headers);
  const bytes = Buffer.from(await response.arrayBuffer());
  const textual = TEXTUAL.test(headers['content-type'] ?? '');
  if (textual && bytes.length >= COMPRESSED_FROM_BYTES && takesGzip(accepted)) {
    // Level 1 takes half the time of the usual one, and JSON shrinks to a tenth all the same.
    const body = await compress(bytes, { level: constants.Z_BEST_SPEED });
    const encoded = { ...headers, 'content-encoding': 'gzip', vary: 'accept-encoding' };
    return { statusCode, headers: encoded, body: body.toString('base64'), isBase64Encoded: true };
  }
  const body = bytes.toString(textual ? 'utf8' : 'base64');
  return { statusCode, headers, body, isBase64Encoded: !textual };
}

/** RFC 9110 §12.5.3; a weight of zero is a refusal. */
function takesGzip(accepted: string): boolean {
  return accepted.split(',').some((one) => /^\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/i.test(one));
}
