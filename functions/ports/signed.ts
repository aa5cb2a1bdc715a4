import { FairleadError } from '#shared/errors.ts';
import type { PutTerms } from './objects.ts';

/** What the adapters of Objects promise alike about their signed URLs. */

const SHA256_HEX = /^[0-9a-f]{64}$/;
/** Longer file names are of no use to anyone who saves the download. */
const MAX_FILE_NAME = 255;

/** @throws FairleadError `bad_request` for a length or a hash that is none. */
export function mustBePossible({ length, sha256 }: PutTerms): void {
  if (Number.isSafeInteger(length) && length >= 0 && SHA256_HEX.test(sha256)) return;
  throw new FairleadError(
    'bad_request',
    `an upload needs its length in bytes and its SHA-256 in lower-case hex; got ${length}, ${sha256.slice(0, 70)}`,
  );
}

/** The headers that an upload must carry exactly. */
export function putHeaders({ length, sha256, once }: PutTerms): Record<string, string> {
  return {
    'content-length': String(length),
    'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
    ...(once && { 'if-none-match': '*' }),
  };
}

/** The Content-Disposition of a download: what hosts and guests stored is never shown by a browser under this origin (RFC 6266). */
export function disposition(as: string | undefined): string {
  if (as === undefined) return 'attachment';
  const name = as.slice(0, MAX_FILE_NAME).toWellFormed();
  const plain = name.replaceAll(/[^\w.+ -]/g, '_');
  const exact = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16)}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${exact}`;
}
