import * as z from 'zod';

import { FairleadError, ERROR_STATUS, type ErrorCode } from '../errors.ts';
import { commandResult, fingerprint, hostCommand, hostFacts, instanceReport, uuid } from './commands.ts';
import { ANSWER_PARTS, MAX_FRAME_BYTES, PUT_OBJECTS } from './limits.ts';
import { objectName } from './moves.ts';

/** Every frame of the link, as PROTOCOL.md describes them. `t` tells the kind. */

const id = z.string().min(1).max(64);
const ticket = z.string().max(2000);
const spool = z.int().positive();
const errorCode = z.enum(Object.keys(ERROR_STATUS) as [ErrorCode, ...ErrorCode[]]);
export const wireError = z.object({ code: errorCode, message: z.string().max(4000) });
export type WireError = z.infer<typeof wireError>;

/** A stream's frames, with the sender's ticket. `b` is base64. */
const data = z.object({
  t: z.literal('d'),
  s: id,
  g: ticket,
  q: z.int().nonnegative(),
  c: z.int().min(0).max(9),
  b: z.string().max(MAX_FRAME_BYTES),
  f: z.literal(true).optional(),
  a: z.int().nonnegative().optional(),
  k: z
    .array(z.tuple([z.int(), z.int()]))
    .max(16)
    .optional(),
  w: z.int().nonnegative().optional(),
});
const ack = z.object({
  t: z.literal('a'),
  s: id,
  g: ticket,
  a: z.int().nonnegative(),
  k: z.array(z.tuple([z.int(), z.int()])).max(16),
  w: z.int().nonnegative(),
});
const reset = z.object({ t: z.literal('rst'), s: id, g: ticket, code: z.string().max(64), msg: z.string().max(1000) });
const beat = z.object({ t: z.literal('hb') });
const chunk = z.object({
  t: z.literal('chunk'),
  move: uuid,
  attempt: z.int().positive(),
  name: objectName,
  length: z.int().positive(),
  sha256: fingerprint,
});

/** Frames an end (host or client) sends to the edge. */
export const upFrame = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('hello'),
    v: z.int(),
    boot: id,
    facts: hostFacts.optional(),
    /** The host's proof that it received the last instance secret; see security.md §2.3. */
    generation: z.int().nonnegative().optional(),
    /** This connection takes over from one that is still open (rotation). */
    replaces: z.boolean().optional(),
    /** A client's open streams: one that is over by now is answered with `rst`. */
    streams: z.array(id).max(32).optional(),
  }),
  beat,
  z.object({
    t: z.literal('report'),
    /** Answered with `got`, as what is spooled. */
    n: spool,
    instances: z.array(instanceReport).max(64),
    /** The host's persistent sequence number when the report was taken. */
    seq: spool,
    /** True on the last frame of a full report. */
    last: z.boolean(),
    /** On the last frame: every instance this host holds, so that the edge sees what is missing. Left out when there are more. */
    held: z.array(uuid).max(600).optional(),
  }),
  z.object({
    t: z.literal('res'),
    n: spool,
    id,
    seq: spool,
    ok: z.boolean(),
    result: commandResult.optional(),
    error: wireError.optional(),
  }),
  z.object({ t: z.literal('progress'), id, text: z.string().max(200), percent: z.number().min(0).max(100).optional() }),
  z.object({ t: z.literal('event'), n: spool, seq: spool, instance: instanceReport }),
  /** Fresh URLs of an image's parts, from part `from` on, for a command that is under way here. */
  z.object({ t: z.literal('ask'), id, command: id, fingerprint, from: z.int().nonnegative() }),
  /** Signed URLs to put a move's objects: only its source may, and each object once. Answered with `puts`, in order. */
  z.object({
    t: z.literal('ask-put'),
    id,
    move: uuid,
    attempt: z.int().positive(),
    objects: z
      .array(z.object({ name: objectName, length: z.int().positive(), sha256: fingerprint }))
      .min(1)
      .max(PUT_OBJECTS),
  }),
  /** Signed URLs to read a move's objects: only its target may. Answered with `urls`, in order. */
  z.object({
    t: z.literal('ask-get'),
    id,
    move: uuid,
    attempt: z.int().positive(),
    names: z.array(objectName).min(1).max(ANSWER_PARTS),
  }),
  /** The source uploaded a chunk; passed on to the target, not recorded, may be lost: the manifest names it as well. */
  chunk,
  /** `boot` is that of the `hello`: the streams of a client outlive its connections. */
  z.object({
    t: z.literal('attach'),
    id,
    boot: id,
    op: id,
    secrets: z.record(z.string().max(16), z.string().max(128)),
  }),
  data,
  ack,
  reset,
]);
export type UpFrame = z.infer<typeof upFrame>;

/** Frames the edge sends to an end. */
export const downFrame = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('welcome'),
    conn: z.string().max(128),
    now: z.number(),
    heartbeatMs: z.int().positive(),
    rotateMs: z.int().positive(),
    /** A host's next instance secret, to be stored before anything else is done. */
    secret: z.object({ generation: z.int().positive(), value: z.string().max(128) }).optional(),
  }),
  beat,
  z.object({ t: z.literal('cmd'), id, cmd: hostCommand, expires: z.number() }),
  z.object({ t: z.literal('got'), n: spool }),
  z.object({ t: z.literal('cancel'), id }),
  z.object({ t: z.literal('report-now') }),
  z.object({
    t: z.literal('answer'),
    id,
    /** At most ANSWER_PARTS of `total` parts. */
    parts: z.array(z.object({ url: z.string().max(1500), length: z.int().positive(), sha256: fingerprint })).optional(),
    total: z.int().nonnegative().optional(),
    /** To an `ask-put`: the headers must be sent exactly. An object that is there already is answered 412, which is fine. */
    puts: z
      .array(z.object({ url: z.string().max(2500), headers: z.record(z.string(), z.string().max(500)) }))
      .max(PUT_OBJECTS)
      .optional(),
    /** To an `ask-get`. */
    urls: z.array(z.string().max(2500)).max(ANSWER_PARTS).optional(),
    error: wireError.optional(),
  }),
  chunk,
  z.object({ t: z.literal('attached'), id, s: id, g: ticket }),
  z.object({ t: z.literal('refused'), id, error: wireError }),
  z.object({ t: z.literal('resume'), streams: z.array(z.object({ s: id, g: ticket })).max(32) }),
  z.object({ t: z.literal('gone'), s: id }),
  z.object({ t: z.literal('publish'), event: z.record(z.string(), z.unknown()) }),
  z.object({ t: z.literal('drain') }),
  z.object({ t: z.literal('bye'), error: wireError }),
  data,
  ack,
  reset,
]);
export type DownFrame = z.infer<typeof downFrame>;
export type StreamWireFrame = Extract<UpFrame, { t: 'd' | 'a' | 'rst' }>;

/**
 * The text of a frame.
 * @throws FairleadError `protocol` when it would be longer than a frame may be; nothing may rely on the carrier to fragment.
 */
export function encodeFrame(frame: UpFrame | DownFrame): string {
  const text = JSON.stringify(frame);
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_FRAME_BYTES) {
    throw new FairleadError('protocol', `a ${frame.t} frame of ${bytes} bytes is over the link's ${MAX_FRAME_BYTES}`);
  }
  return text;
}

/**
 * Parses a frame that came from an end.
 * @throws FairleadError `protocol` for text that is no JSON, too large, or of an unknown kind.
 */
export function decodeUp(text: string): UpFrame {
  return decode(upFrame, text);
}

/** Parses a frame that came from the edge; throws as {@link decodeUp}. */
export function decodeDown(text: string): DownFrame {
  return decode(downFrame, text);
}

function decode<T>(schema: z.ZodType<T>, text: string): T {
  if (Buffer.byteLength(text) > MAX_FRAME_BYTES) {
    throw new FairleadError('protocol', `a frame is at most ${MAX_FRAME_BYTES} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FairleadError('protocol', 'a frame is a JSON object; this one does not parse', { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const kind = typeof value === 'object' && value !== null && 't' in value ? String(value.t).slice(0, 20) : 'none';
  throw new FairleadError(
    'protocol',
    `not a frame this end understands (kind ${kind}): ${z.prettifyError(parsed.error)}`,
  );
}

/** The error of a frame, as it travels. */
export function toWire(error: FairleadError): WireError {
  return { code: error.code, message: error.message.slice(0, 4000) };
}

/** The error a frame brought. */
export function fromWire(error: WireError): FairleadError {
  return new FairleadError(error.code, error.message);
}
