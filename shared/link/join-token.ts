import * as z from 'zod';

import { FairleadError } from '../errors.ts';
import { fingerprint } from './commands.ts';

/** What an administrator hands to a new host: where to dial, and a secret that is spent by the first use. */

const PREFIX = 'fl1.';
/** Longer than any real token; refused before it is decoded. */
const MAX_TOKEN_CHARS = 4096;

const joinToken = z.object({
  v: z.literal(1),
  /** The control plane's public URL, without a path. */
  u: z.url({ protocol: /^https?$/ }).max(1024),
  /** The token's public id. */
  i: z.string().min(1).max(64),
  s: z.string().min(16).max(128),
  /** SHA-256 of the server's certificate when it is self-signed. */
  f: fingerprint.optional(),
  /** Expiry, milliseconds since 1970 by the control plane's clock. */
  e: z.int().positive(),
});
export type JoinToken = z.infer<typeof joinToken>;

/** The token as one word that survives a shell, a chat and a double click. */
export function encodeJoinToken(token: JoinToken): string {
  return PREFIX + Buffer.from(JSON.stringify(joinToken.parse(token))).toString('base64url');
}

/**
 * Reads a token. Its expiry is for the caller to compare; only the control plane's word on it counts.
 * @throws FairleadError `bad_request` for text that is no join token; the message never repeats it
 */
export function decodeJoinToken(text: string): JoinToken {
  const word = text.trim();
  if (word.length <= MAX_TOKEN_CHARS && word.startsWith(PREFIX)) {
    const parsed = joinToken.safeParse(json(Buffer.from(word.slice(PREFIX.length), 'base64url').toString()));
    if (parsed.success) return parsed.data;
  }
  throw new FairleadError(
    'bad_request',
    `This is not a join token: one begins with "${PREFIX}" and has no spaces. Make one with "fairlead host token" and copy it whole.`,
  );
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
