/**
 * The one error base of Fairlead. `code` is stable: clients, tests and documents may rely on it.
 * `status` is the HTTP status and LXD `error_code` the error is answered with.
 */

/** Every code with the HTTP status it is answered with. */
export const ERROR_STATUS = {
  bad_request: 400,
  bad_name: 400,
  bad_config: 400,
  bad_image: 400,
  unauthenticated: 401,
  forbidden: 403,
  forbidden_by_host: 403,
  not_found: 404,
  ambiguous_name: 409,
  already_exists: 409,
  busy: 409,
  wrong_state: 400,
  conflict: 409,
  etag_mismatch: 412,
  body_too_large: 413,
  wrong_server: 421,
  rate_limited: 429,
  internal: 500,
  host_failed: 500,
  disk_full: 507,
  host_offline: 503,
  unavailable: 503,
  timed_out: 504,
  cancelled: 499,
  stale: 409,
  protocol: 400,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** A failure with a sentence for the user: what happened, why, and what to do next. */
export class FairleadError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'FairleadError';
    this.code = code;
  }

  /** HTTP status, also LXD's `error_code`. */
  get status(): number {
    return ERROR_STATUS[this.code];
  }
}

/** True for any {@link FairleadError}, narrowed to one code when given. */
export function isFairleadError(error: unknown, code?: ErrorCode): error is FairleadError {
  return error instanceof FairleadError && (code === undefined || error.code === code);
}

/** The message of whatever was thrown, for logs and for wrapping. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
