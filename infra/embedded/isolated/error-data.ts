import { FairleadError, type ErrorCode } from '#shared/errors.ts';
import { ConditionFailed } from '../../../functions/ports/records.ts';

/** An error on its way between module graphs: each has classes of its own, so `instanceof` holds on neither side of a message. */
export type ErrorData =
  | { readonly kind: 'fairlead'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'condition'; readonly failed: readonly number[] }
  | { readonly kind: 'other'; readonly message: string; readonly stack: string | undefined };

/** What a message carries of an error. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof FairleadError) return { kind: 'fairlead', code: error.code, message: error.message };
  if (error instanceof ConditionFailed) return { kind: 'condition', failed: error.failed };
  if (error instanceof Error) return { kind: 'other', message: error.message, stack: error.stack };
  return { kind: 'other', message: String(error), stack: undefined };
}

/** The error again, of this side's class. */
export function fromErrorData(data: ErrorData): Error {
  if (data.kind === 'fairlead') return new FairleadError(data.code, data.message);
  if (data.kind === 'condition') return new ConditionFailed(data.failed);
  const error = new Error(data.message);
  if (data.stack !== undefined) error.stack = data.stack;
  return error;
}
