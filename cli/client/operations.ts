import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { isFinal, STATUS } from '#shared/lxd/status.ts';
import { url, type ControlPlane } from './http.ts';

/** The longest a server holds one `wait`. */
const WAIT_SECONDS = 25;
/** So often is asked where somebody watches the progress. */
const WATCHED_SECONDS = 1;
/** Waits that may fail in a row before we give up: the operation goes on either way. */
const MAX_LOST_WAITS = 6;
const RETRY_MS = 2000;

export interface Waiting {
  readonly api: ControlPlane;
  readonly sleep: (ms: number) => Promise<void>;
  /** Called with each state seen; leave out when nobody watches. */
  readonly watch?: ((operation: Operation) => void) | undefined;
}

/**
 * Waits until an operation is final and answers it, whatever its outcome. Survives a control plane that is away for a moment.
 * @throws FairleadError when the operation can not be read any more
 */
export async function untilFinal(operation: Operation, waiting: Waiting): Promise<Operation> {
  const { api, sleep, watch } = waiting;
  const timeout = watch ? WATCHED_SECONDS : WAIT_SECONDS;
  let current = operation;
  let lost = 0;
  while (!isFinal(current.status_code)) {
    watch?.(current);
    try {
      current = await api.get<Operation>(url`/1.0/operations/${operation.id}/wait`, { timeout });
      lost = 0;
    } catch (error) {
      lost += 1;
      if (!isFairleadError(error, 'unavailable') || lost >= MAX_LOST_WAITS) throw error;
      await sleep(RETRY_MS);
    }
  }
  return current;
}

/**
 * The operation, if it succeeded.
 * @throws FairleadError with the operation's own sentence, if not
 */
export function succeeded(operation: Operation): Operation {
  if (operation.status_code === STATUS.success) return operation;
  if (operation.status_code === STATUS.cancelled) {
    throw new FairleadError('cancelled', operation.err || `Cancelled: ${operation.description}`);
  }
  throw new FairleadError('host_failed', operation.err || `Failed without a reason: ${operation.description}`);
}

/** The name of the first instance an operation is about. */
export function instanceOf(operation: Operation): string | undefined {
  const path = operation.resources?.['instances']?.[0];
  return path === undefined ? undefined : decodeURIComponent(path.slice(path.lastIndexOf('/') + 1));
}
