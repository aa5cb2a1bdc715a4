import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';

/**
 * What S3 does and moto does not: it checks the signature of a presigned URL with the headers it covers, its age, and that the body has the
 * checksum its header promises (S3 API reference, "Authenticating Requests: Using Query Parameters"), and it lets a signed parameter name
 * the download (GetObject, `response-content-disposition`).
 */

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The answer to a request that S3 refuses before it looks at the object; undefined for every other one. */
export function s3Refusal(request: IncomingMessage, body: Buffer, credentials: Credentials): Refusal | undefined {
  const url = new URL(request.url ?? '/', 'http://s3');
  // The SDK's own requests carry the header; whether it is good is no matter of these tests.
  if (request.headers.authorization !== undefined) return undefined;
  if (!isPresigned(request, url, credentials)) return refusal(403, 'SignatureDoesNotMatch');
  if (isOver(url, Date.now())) return refusal(403, 'AccessDenied');
  const promised = request.headers['x-amz-checksum-sha256'];
  if (promised !== undefined && promised !== sha256(body, 'base64')) return refusal(400, 'BadDigest');
  return undefined;
}

/** The headers with which moto takes a request whose signature was checked here; its own check of presigned URLs answers 403 for what is not there. */
export function vouched({ headers, url = '' }: IncomingMessage): OutgoingHttpHeaders {
  const credential = new URL(url, 'http://s3').searchParams.get('X-Amz-Credential');
  if (credential === null) return headers;
  return { ...headers, authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=00` };
}

/** What the parameters of a download say about the headers of its answer. */
export function s3Overrides({ url = '' }: IncomingMessage): OutgoingHttpHeaders {
  const disposition = new URL(url, 'http://s3').searchParams.get('response-content-disposition');
  return disposition === null ? {} : { 'content-disposition': disposition };
}

function isPresigned(request: IncomingMessage, url: URL, { accessKeyId, secretAccessKey }: Credentials): boolean {
  const parameter = (name: string) => url.searchParams.get(`X-Amz-${name}`) ?? '';
  const [key, ...scope] = parameter('Credential').split('/');
  const signed = parameter('SignedHeaders').split(';');
  // A header that says something to S3 must be part of what was signed.
  const unsigned = Object.keys(request.headers).filter((name) => name.startsWith('x-amz-') && !signed.includes(name));
  if (key !== accessKeyId || unsigned.length > 0) return false;
  const canonical = [
    request.method,
    url.pathname,
    canonicalQuery(url),
    ...signed.map((name) => `${name}:${String(request.headers[name] ?? '').trim()}`),
    '',
    signed.join(';'),
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', parameter('Date'), scope.join('/'), sha256(canonical, 'hex')].join('\n');
  const signingKey = scope.reduce<Buffer | string>((secret, part) => hmac(secret, part), `AWS4${secretAccessKey}`);
  return hmac(signingKey, toSign).toString('hex') === parameter('Signature');
}

function canonicalQuery(url: URL): string {
  const parameters = [...url.searchParams].filter(([name]) => name !== 'X-Amz-Signature');
  return parameters
    .map(([name, value]) => `${escape(name)}=${escape(value)}`)
    .sort()
    .join('&');
}

function escape(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function isOver(url: URL, now: number): boolean {
  const date = (url.searchParams.get('X-Amz-Date') ?? '').replace(
    /^(....)(..)(..)T(..)(..)(..)Z$/,
    '$1-$2-$3T$4:$5:$6Z',
  );
  return !(Date.parse(date) + Number(url.searchParams.get('X-Amz-Expires')) * 1000 > now);
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(value: Buffer | string, encoding: 'hex' | 'base64'): string {
  return createHash('sha256').update(value).digest(encoding);
}

function refusal(status: number, code: string): Refusal {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code></Error>`);
  return { status, headers: { 'content-type': 'application/xml' }, body };
}
