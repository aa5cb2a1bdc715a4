import type { Clock, Random } from '../ports/ports.ts';

/** How often something is tried, and the longest pauses in between (full jitter, so that those who collided do not collide again). */
const MAX_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 800;

export interface Pauses {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Pick<Random, 'bytes'>;
}

/**
 * `rejected`: it was certainly not done, as it was throttled or met another write. `unknown`: it was done or it was not.
 * `final`: trying again would change nothing.
 */
export type Failure = 'rejected' | 'unknown' | 'final';

/** Does something, and again while it fails for a reason of `again`; throws its last error. */
export async function persevere<T>(
  { clock, random }: Pauses,
  action: () => Promise<T>,
  again: (error: unknown) => boolean,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await action();
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !again(error)) throw error;
      const most = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
      await clock.sleep((most * (random.bytes(1)[0] ?? 0)) / 255);
    }
  }
}

/** How AWS services say that they did not begin. */
const REJECTIONS: ReadonlySet<string> = new Set([
  'LimitExceededException',
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'SlowDown',
  'ThrottlingException',
  'TooManyRequestsException',
  'TransactionConflictException',
  'TransactionInProgressException',
]);

/** What an error of an AWS client says about what was asked. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return 'final';
  if (REJECTIONS.has(error.name)) return 'rejected';
  const status = statusOf(error);
  if (status === 429) return 'rejected';
  // A 2xx that is an error is an answer that could not be read.
  if (status !== undefined) return status >= 500 || status < 400 ? 'unknown' : 'final';
  return error.name === 'TimeoutError' || isSystemError(error) ? 'unknown' : 'final';
}

/** The HTTP status that an error of an AWS client came with. */
export function statusOf(error: unknown): number | undefined {
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return $metadata?.httpStatusCode;
}

/** Of a socket or of the resolver: ECONNRESET, EPIPE, EAI_AGAIN ... */
function isSystemError(error: Error): boolean {
  return 'code' in error && typeof error.code === 'string' && /^E[A-Z_]+$/.test(error.code);
}
