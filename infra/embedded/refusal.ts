import type { IncomingMessage, ServerResponse } from 'node:http';

import { FairleadError } from '#shared/errors.ts';
import { error as errorEnvelope } from '#shared/lxd/envelope.ts';

/** Of a body that nobody wants, this much is read so that its sender gets to read the answer; then the connection ends. */
const DRAIN_BYTES = 16 * 1024 * 1024;
const DRAIN_MS = 5_000;

/** The error a user may see: what is no {@link FairleadError} tells nothing of its inside. */
export function presentable(error: unknown): FairleadError {
  return error instanceof FairleadError
    ? error
    : new FairleadError('internal', 'something went wrong inside the control plane; its log has the reason', {
        cause: error,
      });
}

/** Answers with an error in LXD's form, also while the body is still arriving. */
export function answerError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const { status, message } = presentable(error);
  const text = JSON.stringify(errorEnvelope(status, message));
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const body = request.method === 'HEAD' ? '' : text;
  if (request.complete || !expectsBody(request)) {
    response.writeHead(status, headers).end(body);
    return;
  }
  // Closing with unread bytes would reset the connection before the answer is read.
  response.writeHead(status, { ...headers, connection: 'close' });
  response.write(body);
  drain(request, () => response.end());
}

function expectsBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

function drain(request: IncomingMessage, then: () => void): void {
  let left = DRAIN_BYTES;
  const timer = setTimeout(done, DRAIN_MS);
  timer.unref();
  function done(): void {
    clearTimeout(timer);
    request.off('data', count);
    then();
  }
  function count(chunk: Buffer): void {
    left -= chunk.length;
    if (left < 0) done();
  }
  request.on('data', count);
  request.once('close', done);
  request.once('end', done);
}
