/**
 * The store of bulk data. Hosts and clients move bytes themselves under signed URLs; functions only sign, and read what they must verify.
 * Two adapters: files (infra/embedded) and S3 (functions/aws); `objects.contract.ts` runs against both.
 */

export interface SignedPut {
  readonly url: string;
  /** Headers the uploader must send exactly; they are part of the signature. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface PutTerms {
  /** Bytes, exactly. */
  readonly length: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Create only: a second PUT is answered 412. */
  readonly once: boolean;
}

export interface ObjectHead {
  readonly length: number;
  readonly sha256?: string;
}

/** How long a signed URL is good (ms). */
export const SIGNED_URL_MS = 15 * 60_000;

export interface Objects {
  /** A URL bound to one key, length, hash and, with `once`, to creation. */
  signPut(key: string, terms: PutTerms): Promise<SignedPut>;
  /** A URL that reads one object. `as` becomes its Content-Disposition file name. */
  signGet(key: string, options?: { as?: string }): Promise<string>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** The bytes as a stream. @throws FairleadError `not_found`. */
  get(key: string): Promise<AsyncIterable<Uint8Array>>;
  head(key: string): Promise<ObjectHead | undefined>;
  /** Keys that begin so, in order. */
  list(prefix: string): Promise<string[]>;
  /** Deleting what is not there is no error. */
  delete(key: string): Promise<void>;
}
