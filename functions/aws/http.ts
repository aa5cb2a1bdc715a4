import { FairleadError } from '#shared/errors.ts';
import { error as errorEnvelope } from '#shared/lxd/envelope.ts';
import { createHttpHandler } from '../http/handler.ts';
import type { HttpEvent, HttpResult } from '../ports/events.ts';
import { once, openPorts } from './deployment.ts';
import { toHttpEvent } from './http-event.ts';

const serve = once(async () => createHttpHandler(await openPorts(process.env)));

/** Lambda hands back at most 6 MB; more would be answered 502 without a reason. */
const MAX_RESPONSE_BYTES = 6_000_000;

/** The HTTP API. */
export async function handler(event: HttpEvent): Promise<HttpResult> {
  const answer = await serve();
  const result = await answer(toHttpEvent(event));
  return Buffer.byteLength(result.body) <= MAX_RESPONSE_BYTES ? result : tooLarge();
}

function tooLarge(): HttpResult {
  const { status, message } = new FairleadError(
    'internal',
    `The answer is over ${MAX_RESPONSE_BYTES} bytes. Ask for less at once.`,
  );
  return {
    statusCode: status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(errorEnvelope(status, message)),
    isBase64Encoded: false,
  };
}
