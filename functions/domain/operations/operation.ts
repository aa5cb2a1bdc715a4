import { type Operation, type OperationClass } from '#shared/lxd/operation.ts';
import { isFinal, STATUS, STATUS_NAME, type StatusCode } from '#shared/lxd/status.ts';

import type { Write } from '../../ports/records.ts';
import { keys } from '../keys.ts';

/** An operation as it is stored. Times in ms. */
export interface OperationRecord {
  readonly id: string;
  readonly project: string;
  readonly class: OperationClass;
  readonly description: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly status: StatusCode;
  readonly resources: Readonly<Record<string, readonly string[]>>;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly error: string;
  readonly actor: string;
  /** When it fails if it has not ended by then. */
  readonly deadline: number;
  /** The host that works on it. */
  readonly host?: string;
  /** The host command it waits for. */
  readonly command?: string;
  /** The job that does the work, for the sweep to ask for again when it was lost. */
  readonly job?: 'ingest';
  /** What ends with it: an instance's lock is released when its operation is final. */
  readonly instance?: string;
  /** The move it is the operation of: that decides when it is over. */
  readonly move?: string;
  /** Websocket operations: one-use secrets by descriptor, hashed; spent when the stream is attached. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly stream?: string;
  /** What an `exec` will ask the host, kept until somebody attaches. */
  readonly request?: unknown;
}

/** How long a final operation can still be read. */
export const OPERATION_KEPT_MS = 60 * 60_000;
/** How long an operation may wait for its host before it fails. */
export const OPERATION_DEADLINE_MS = 24 * 60 * 60_000;

export interface NewOperation {
  readonly id: string;
  readonly project: string;
  readonly class?: OperationClass;
  readonly description: string;
  readonly actor: string;
  readonly now: number;
  readonly deadline?: number;
  readonly resources?: Readonly<Record<string, readonly string[]>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly host?: string;
  readonly command?: string;
  readonly job?: 'ingest';
  readonly instance?: string;
  readonly move?: string;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly request?: unknown;
}

/** A running operation and the write that stores it. */
export function newOperation(input: NewOperation): { operation: OperationRecord; write: Write } {
  const { now, deadline, ...rest } = input;
  const operation: OperationRecord = {
    class: 'task',
    resources: {},
    metadata: {},
    ...rest,
    createdAt: now,
    updatedAt: now,
    status: STATUS.running,
    error: '',
    deadline: deadline ?? now + OPERATION_DEADLINE_MS,
  };
  return {
    operation,
    write: { op: 'put', key: keys.operation(operation.project, operation.id), data: operation, when: 'absent' },
  };
}

/** The write that changes a running operation. */
export function putOperation(operation: OperationRecord, rev: number): Write {
  return { op: 'put', key: keys.operation(operation.project, operation.id), data: operation, when: { rev } };
}

/** The write that ends an operation; it stays readable for {@link OPERATION_KEPT_MS}. */
export function endOperation(
  operation: OperationRecord,
  rev: number,
  now: number,
  outcome: { status: 200 | 400 | 401; error?: string; metadata?: Readonly<Record<string, unknown>> },
): { operation: OperationRecord; write: Write } {
  const { secrets: _secrets, request: _request, ...kept } = operation;
  const ended: OperationRecord = {
    ...kept,
    status: outcome.status,
    error: outcome.error ?? '',
    metadata: { ...operation.metadata, ...outcome.metadata },
    updatedAt: now,
  };
  return {
    operation: ended,
    write: {
      op: 'put',
      key: keys.operation(operation.project, operation.id),
      data: ended,
      when: { rev },
      expiresAt: now + OPERATION_KEPT_MS,
    },
  };
}

/** Whether the operation has ended. */
export function ended(operation: OperationRecord): boolean {
  return isFinal(operation.status);
}

/** An operation as LXD shows it. No secret is ever in it. `location` is the host's name; `waiting` the reason it has not begun. */
export function renderOperation(operation: OperationRecord, location: string, waiting?: string): Operation {
  const { instances } = operation.resources;
  return {
    id: operation.id,
    class: operation.class,
    description: operation.description,
    created_at: new Date(operation.createdAt).toISOString(),
    updated_at: new Date(operation.updatedAt).toISOString(),
    status: STATUS_NAME[operation.status],
    status_code: operation.status,
    // lxc 5.0.2 looks for the old name of the collection.
    resources: { ...mutable(operation.resources), ...(instances && { containers: [...instances] }) },
    // Clients print whatever ends in `_progress`.
    metadata: { ...operation.metadata, ...(waiting !== undefined && { waiting_progress: waiting }) },
    may_cancel: !ended(operation),
    err: operation.error,
    location,
  };
}

function mutable(resources: Readonly<Record<string, readonly string[]>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(resources).map(([collection, urls]) => [collection, [...urls]]));
}
