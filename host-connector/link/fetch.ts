import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';

import { dialling } from './tls.ts';

/**
 * A `fetch` for GET that trusts the pinned certificate, for addresses of the control plane itself (an embedded one serves its own objects);
 * every other address goes through the usual `fetch` and the system's authorities.
 */
export function pinnedFetch(origin: string, pin: string | undefined): typeof globalThis.fetch {
  return (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (pin === undefined || url.origin !== new URL(origin).origin) return globalThis.fetch(input, init);
    return get(url, pin, init);
  };
}

function get(url: URL, pin: string, { headers, signal }: RequestInit): Promise<Response> {
  const options = {
    headers: Object.fromEntries(new Headers(headers)),
    ...(signal && { signal }),
    createConnection: dialling({ url, pin }),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, options, (answer) => resolve(toResponse(answer)));
    request.once('error', reject);
    request.end();
  });
}

function toResponse(answer: IncomingMessage): Response {
  const body = Readable.toWeb(answer) as ReadableStream<Uint8Array>;
  return new Response(body, {
    status: answer.statusCode ?? 502,
    headers: { 'content-type': answer.headers['content-type'] ?? '' },
  });
}
