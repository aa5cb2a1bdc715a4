import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';

/**
 * Signed URLs of the embedded object store: HMAC-SHA256 over everything that matters. As with S3, the headers of a PUT are part of what is
 * signed: the uploader sends exactly them.
 */

/** What a signed URL allows: one method on one key. A GET may be sent as HEAD. */
export type Grant =
  | { readonly method: 'GET'; readonly key: string; readonly expires: number; readonly as?: string }
  | {
      readonly method: 'PUT';
      readonly key: string;
      readonly expires: number;
      readonly length: number;
      readonly sha256: string;
      readonly once: boolean;
    };

/** The path under which the store answers. */
export const OBJECTS_PATH = '/objects/';

/** The path and query of a grant. */
export function signGrant(secret: KeyObject, grant: Grant): string {
  const query = new URLSearchParams(parametersOf(grant));
  query.set('sig', signature(secret, grant));
  return `${OBJECTS_PATH}${grant.key}?${query.toString()}`;
}

/** The grant of a request's path and query; undefined when anything in it is missing, unknown, repeated, altered or over. */
export function verifyGrant(secret: KeyObject, target: string, now: number): Grant | undefined {
  const [path = '', search = '', ...rest] = target.split('?');
  if (!path.startsWith(OBJECTS_PATH) || rest.length > 0) return undefined;
  const query = new URLSearchParams(search);
  const names = [...query.keys()];
  if (new Set(names).size !== names.length) return undefined;
  const sent = Object.fromEntries(query);
  const grant = grantOf(path.slice(OBJECTS_PATH.length), sent);
  if (grant === undefined) return undefined;
  // The whole query must be what we would write for this grant: no other spelling, nothing added.
  const expected = { ...parametersOf(grant), sig: signature(secret, grant) };
  const { sig = '', ...terms } = sent;
  const sameTerms = JSON.stringify(sorted(terms)) === JSON.stringify(sorted(parametersOf(grant)));
  return sameTerms && equal(sig, expected.sig) && grant.expires > now ? grant : undefined;
}

function parametersOf(grant: Grant): Record<string, string> {
  const common = { method: grant.method, expires: String(grant.expires) };
  if (grant.method === 'GET') return { ...common, ...(grant.as !== undefined && { as: grant.as }) };
  return { ...common, length: String(grant.length), sha256: grant.sha256, once: String(grant.once) };
}

function grantOf(key: string, sent: Readonly<Record<string, string | undefined>>): Grant | undefined {
  const { method, as } = sent;
  const expires = Number(sent['expires']);
  if (method === 'GET') return { method, key, expires, ...(as !== undefined && { as }) };
  if (method !== 'PUT') return undefined;
  return {
    method,
    key,
    expires,
    length: Number(sent['length']),
    sha256: sent['sha256'] ?? '',
    once: sent['once'] === 'true',
  };
}

function signature(secret: KeyObject, grant: Grant): string {
  const text = JSON.stringify([grant.key, sorted(parametersOf(grant))]);
  return createHmac('sha256', secret).update(text).digest('base64url');
}

function sorted(parameters: Readonly<Record<string, string | undefined>>): [string, string | undefined][] {
  return Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
