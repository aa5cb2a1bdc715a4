import { FairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';

import type { Stored } from '../../ports/records.ts';
import type { Decision } from '../decide.ts';
import { operationEvent } from '../events/lifecycle.ts';
import type { HostRecord } from '../hosts/host.ts';
import { enqueueCommand } from '../hosts/outbox.ts';
import { newOperation, OPERATION_DEADLINE_MS, type OperationRecord } from '../operations/operation.ts';
import { putInstance, type InstanceRecord, type Task } from './instance.ts';

/** What beginning a task on an instance needs besides the instance. */
export interface TaskInput {
  readonly actor: string;
  readonly operation: string;
  readonly command: string;
  readonly now: number;
}

export interface TaskDescription {
  readonly action: Task['action'];
  readonly description: string;
  readonly command: HostCommand;
  /** Kept with the operation until the host has answered. */
  readonly request?: unknown;
}

export type Begun = Decision<{ operation: OperationRecord; host: HostRecord }>;

/**
 * Pure: locks the instance for one intent, and commands its host.
 * @throws FairleadError `busy` while another intent is under way.
 */
export function beginTask(
  instance: Stored<InstanceRecord>,
  host: HostRecord,
  task: TaskDescription,
  input: TaskInput,
): Begun {
  const record = instance.data;
  if (record.task !== undefined) {
    throw new FairleadError(
      'busy',
      `Instance "${record.name}" is busy: a ${record.task.action} is under way (operation ${record.task.operation}). Wait for it, or cancel it.`,
    );
  }
  const { operation, write } = newOperation({
    id: input.operation,
    project: record.project,
    description: task.description,
    actor: input.actor,
    now: input.now,
    resources: { instances: [`/1.0/instances/${record.name}`] },
    host: host.id,
    command: input.command,
    instance: record.id,
    ...(task.request !== undefined && { request: task.request }),
  });
  const outgoing = { id: input.command, host: host.id, operation: operation.id, command: task.command };
  return {
    writes: [
      write,
      putInstance({ ...record, task: { operation: operation.id, action: task.action } }, instance.rev),
      ...enqueueCommand(outgoing, record.project, input.now, input.now + OPERATION_DEADLINE_MS),
    ],
    effects: [{ do: 'deliver', host: host.id }, operationEvent(operation, host.name)],
    value: { operation, host },
  };
}
