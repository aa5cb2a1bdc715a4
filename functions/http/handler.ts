import type { HttpEvent, HttpResult } from '../ports/events.ts';
import type { Ports } from '../ports/ports.ts';
import { createApp } from './app.ts';

/** Content types that travel as text; everything else goes base64. */
const TEXTUAL = /^(text\/|application\/json)/;

/** The HTTP entry point: a gateway's event in, its result out, around a plain fetch handler. */
export function createHttpHandler(ports: Ports): (event: HttpEvent) => Promise<HttpResult> {
  const app = createApp(ports);
  return async (event) => {
    const { sourceIp } = event.requestContext.http;
    return toResult(await app.fetch(toRequest(event), { sourceIp }));
  };
}

function toRequest(event: HttpEvent): Request {
  const { method } = event.requestContext.http;
  const query = event.rawQueryString === '' ? '' : `?${event.rawQueryString}`;
  const hasBody = event.body !== undefined && method !== 'GET' && method !== 'HEAD';
  const body = hasBody ? Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8') : null;
  return new Request(`https://gateway${event.rawPath}${query}`, { method, headers: { ...event.headers }, body });
}

async function toResult(response: Response): Promise<HttpResult> {
  const headers = Object.fromEntries(response.headers);
  const bytes = Buffer.from(await response.arrayBuffer());
  const textual = TEXTUAL.test(headers['content-type'] ?? '');
  return {
    statusCode: response.status,
    headers,
    body: bytes.toString(textual ? 'utf8' : 'base64'),
    isBase64Encoded: !textual,
  };
}
