import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';

import { dialling } from './tls.ts';

/**
 * A `fetch` for GET, and for PUT of bytes, which trusts the pinned certificate at the control plane's own address (an embedded one serves its own objects) and the
 * authorities of node and of the system elsewhere. It follows no redirects, keeps no connections, and gives of a Response what a download
 * needs: `status` and `body`. Node's own fetch cannot pin, and costs an idle connector ten megabytes.
 */
export function downloadFetch(origin: string, pin: string | undefined): typeof globalThis.fetch {
  const own = new URL(origin).origin;
  return (input, init = {}) => {
    const url = new URL(typeof input === 'object' && 'url' in input ? input.url : input);
    return exchange(url, url.origin === own ? pin : undefined, init);
  };
}

function exchange(url: URL, pin: string | undefined, init: RequestInit): Promise<Response> {
  const { method = 'GET', headers = {}, signal, body } = init;
  const bytes = body as Uint8Array | undefined;
  const length = bytes && { 'content-length': String(bytes.length) };
  const options = {
    method,
    headers: { ...(headers as Record<string, string>), ...length },
    ...(signal && { signal }),
    createConnection: dialling({ url, pin }),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, options, (answer) => resolve(toResponse(answer)));
    request.once('error', reject);
    request.end(bytes);
  });
}

function toResponse(answer: IncomingMessage): Response {
  const body = Readable.toWeb(answer) as ReadableStream<Uint8Array>;
  return { status: answer.statusCode ?? 0, body } as Response;
}
