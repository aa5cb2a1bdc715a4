import * as z from 'zod';

import { FairleadError } from '../errors.ts';
import { CHANNEL } from './stream/stream.ts';

/**
 * What an exec session says on its stream. Client to host: standard input on channel 0. Host to client: output on channel 1, and without a
 * terminal errors on channel 2. On the control channel each message is one JSON object: towards the host LXD's own control messages,
 * towards the client the exit code, last, behind all output.
 */

/** Channels by direction. */
export const TO_HOST = CHANNEL.stdin;
export const OUTPUT = CHANNEL.stdout;
export const ERRORS = CHANNEL.stderr;

/** LXD sends sizes as text. */
const cells = z.coerce.number().int().min(1).max(10_000);

const clientControl = z.discriminatedUnion('command', [
  z.object({ command: z.literal('window-resize'), args: z.object({ width: cells, height: cells }) }),
  z.object({ command: z.literal('signal'), signal: z.coerce.number().int().min(1).max(64) }),
]);
/** A client's wish while a command runs. */
export type ClientControl = z.infer<typeof clientControl>;

const hostControl = z.object({ exit: z.int() });
/** The end of a command: its exit code, 128 + n when signal n ended it. */
export type HostControl = z.infer<typeof hostControl>;

/** The bytes of a control message of either direction. */
export function encodeControl(message: ClientControl | HostControl): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

/** Reads what a client sent. @throws FairleadError `protocol` */
export function decodeClientControl(bytes: Uint8Array): ClientControl {
  return decode(clientControl, bytes);
}

/** Reads what the host sent. @throws FairleadError `protocol` */
export function decodeHostControl(bytes: Uint8Array): HostControl {
  return decode(hostControl, bytes);
}

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (cause) {
    throw new FairleadError('protocol', 'A session got a control message it does not know.', { cause });
  }
}
