import type { KeyObject } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

import { FairleadError } from '#shared/errors.ts';
import type { Clock } from '../../functions/ports/ports.ts';
import { disposition, putHeaders } from '../../functions/ports/signed.ts';
import { byteRange } from './byte-range.ts';
import { isObjectKey, type ObjectFiles } from './object-files.ts';
import { answerError } from './refusal.ts';
import { verifyGrant, type Grant } from './signed-urls.ts';

/** Signed, conditional or range headers that change what a PUT means: only those that were signed may be there. */
const PUT_HEADERS = [
  'content-length',
  'x-amz-checksum-sha256',
  'if-none-match',
  'if-match',
  'content-range',
  'transfer-encoding',
  'content-encoding',
];

interface Store {
  readonly files: ObjectFiles;
  readonly signingKey: KeyObject;
  readonly clock: Pick<Clock, 'now'>;
}

type Get = Extract<Grant, { method: 'GET' }>;
type Put = Extract<Grant, { method: 'PUT' }>;

/**
 * Serves signed GET (also ranges), HEAD and PUT in constant memory. As S3 does: 403 for anything unsigned, altered or over, 404, 412 for a
 * second create, 400 for bytes that are not the promised ones (of which nothing is kept).
 */
export function objectRequestHandler(store: Store) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const grant = verifyGrant(store.signingKey, request.url ?? '', store.clock.now());
      if (grant === undefined || !isObjectKey(grant.key)) throw forbidden();
      if (request.method === 'PUT' && grant.method === 'PUT') await receive(store.files, grant, request, response);
      else if ((request.method === 'GET' || request.method === 'HEAD') && grant.method === 'GET') {
        await send(store.files, grant, request, response);
      } else throw forbidden();
    } catch (error) {
      // An end that went away in the middle gets no answer.
      if (request.destroyed && !request.complete) return;
      if (response.headersSent) response.destroy();
      else answerError(request, response, error);
    }
  };
}

function forbidden(): FairleadError {
  return new FairleadError(
    'forbidden',
    'this URL is not signed for that, was altered, or its time is over; ask for a new one',
  );
}

async function receive(
  files: ObjectFiles,
  grant: Put,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const signed = putHeaders(grant);
  const exactly = PUT_HEADERS.every((name) => request.headers[name] === signed[name]);
  if (!exactly) throw forbidden();
  if (grant.once && (await files.head(grant.key)) !== undefined) throw taken();
  const outcome = await files.write(grant.key, request, { sha256: grant.sha256, once: grant.once });
  if (outcome === 'exists') throw taken();
  if (outcome === 'mismatch') {
    throw new FairleadError(
      'bad_request',
      'the bytes do not have the SHA-256 that was promised; nothing was stored. Read them again and repeat',
    );
  }
  response.writeHead(200, { etag: `"${grant.sha256}"`, 'content-length': 0 }).end();
}

function taken(): FairleadError {
  return new FairleadError('etag_mismatch', 'the object exists already and is written once; nothing was changed');
}

async function send(files: ObjectFiles, grant: Get, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const head = await files.head(grant.key);
  if (head === undefined) throw new FairleadError('not_found', 'there is no such object (any more)');
  const etag = `"${head.sha256}"`;
  const sameVersion = (request.headers['if-range'] ?? etag) === etag;
  const range = byteRange(sameVersion ? request.headers.range : undefined, head.length);
  const headers = {
    'content-type': 'application/octet-stream',
    'content-disposition': disposition(grant.as),
    'x-content-type-options': 'nosniff',
    'accept-ranges': 'bytes',
    etag,
  };
  if (range === 'unsatisfiable') {
    response.writeHead(416, { ...headers, 'content-range': `bytes */${head.length}`, 'content-length': 0 }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: head.length };
  response.writeHead(range ? 206 : 200, {
    ...headers,
    'content-length': end - start,
    ...(range && { 'content-range': `bytes ${start}-${end - 1}/${head.length}` }),
  });
  if (request.method === 'HEAD' || start === end) response.end();
  else await pipeline(files.read(grant.key, start, end), response);
}
