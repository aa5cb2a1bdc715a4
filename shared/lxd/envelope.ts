/** The three envelopes every answer below `/1.0` comes in. Clients decide on `type`; an error's code is also the HTTP status. */
import * as z from 'zod';
import { operationPath, Operation } from './operation.ts';
import { STATUS, statusFields } from './status.ts';

export interface SyncEnvelope<T = unknown> {
  type: 'sync';
  status: string;
  status_code: number;
  operation: '';
  error_code: 0;
  error: '';
  metadata: T;
}

export interface AsyncEnvelope {
  type: 'async';
  status: string;
  status_code: number;
  /** `/1.0/operations/<id>`; also the Location header. */
  operation: string;
  error_code: 0;
  error: '';
  metadata: Operation;
}

export interface ErrorEnvelope {
  type: 'error';
  status: '';
  status_code: 0;
  operation: '';
  /** Equals the HTTP status. */
  error_code: number;
  error: string;
  metadata: null;
}

/** The answer to a request that is done. HTTP 200, or 201 with a Location for a create. */
export function sync<T>(metadata: T): SyncEnvelope<T> {
  return { type: 'sync', ...statusFields(STATUS.success), operation: '', error_code: 0, error: '', metadata };
}

/** The answer to a request that goes on as an operation. HTTP 202 with a Location. */
export function async(operation: Operation): AsyncEnvelope {
  return {
    type: 'async',
    ...statusFields(STATUS.created),
    operation: operationPath(operation.id),
    error_code: 0,
    error: '',
    metadata: operation,
  };
}

/** The answer to a request that failed, with the HTTP status it is sent with. */
export function error(status: number, message: string): ErrorEnvelope {
  return {
    type: 'error',
    status: '',
    status_code: 0,
    operation: '',
    error_code: status,
    error: message,
    metadata: null,
  };
}

/** Any envelope as a client reads it. */
export const Envelope = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('sync'), metadata: z.unknown() }),
  z.looseObject({ type: z.literal('async'), operation: z.string(), metadata: Operation }),
  z.looseObject({ type: z.literal('error'), error: z.string(), error_code: z.number() }),
]);
export type Envelope = z.infer<typeof Envelope>;
