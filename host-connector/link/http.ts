import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';

import { FairleadError, isFairleadError, messageOf, type ErrorCode } from '#shared/errors.ts';
import { dialling } from './tls.ts';

/** The longest answer read; the connector asks for small things only. */
const MAX_ANSWER_BYTES = 64 * 1024;

interface PostOptions {
  readonly pin?: string | undefined;
  /** For the whole exchange: TCP, TLS, request and answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Posts JSON and returns the JSON answered.
 * @throws FairleadError with the control plane's own text for an LXD error envelope; `unavailable` when it cannot be reached in
 *   time; `unauthenticated` for a certificate that is not the right one
 */
export async function postJson(address: string, body: unknown, options: PostOptions): Promise<unknown> {
  const url = new URL(address);
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline;
  let response: { status: number; text: string };
  try {
    response = await exchange(url, JSON.stringify(body), { pin: options.pin, signal });
  } catch (cause) {
    if (isFairleadError(cause)) throw cause;
    const why = deadline.aborted
      ? `no answer within ${options.timeoutMs / 1000} s`
      : messageOf(cause) || 'no connection';
    throw new FairleadError('unavailable', `The control plane at ${url.origin} cannot be reached: ${why}.`, { cause });
  }
  const value = parse(response.text);
  if (response.status >= 200 && response.status < 300) return value;
  throw refusal(response.status, value, url);
}

function exchange(
  url: URL,
  body: string,
  { pin, signal }: { pin: string | undefined; signal: AbortSignal },
): Promise<{ status: number; text: string }> {
  const options: RequestOptions = {
    method: 'POST',
    signal,
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), connection: 'close' },
    createConnection: dialling({ url, pin }),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, options, (response) => {
      readAnswer(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
    });
    request.once('error', reject);
    request.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new FairleadError('protocol', 'the control plane answered with too much');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

/** The error for an HTTP status, with the text of an LXD envelope when there is one. */
function refusal(status: number, value: unknown, url: URL): FairleadError {
  const said = typeof value === 'object' && value !== null && 'error' in value ? String(value.error) : '';
  return new FairleadError(codeOf(status), said || `${url.origin}${url.pathname} answered with status ${status}.`);
}

/** The code for an HTTP status, for where only the status came. */
export function codeOf(status: number): ErrorCode {
  const known: Readonly<Record<number, ErrorCode>> = {
    401: 'unauthenticated',
    403: 'forbidden',
    404: 'not_found',
    409: 'conflict',
    429: 'rate_limited',
  };
  return known[status] ?? (status >= 400 && status < 500 ? 'bad_request' : 'unavailable');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
