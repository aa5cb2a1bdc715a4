import type { CommandResult, InstanceReport } from '#shared/link/commands.ts';
import type { WireError } from '#shared/link/frames.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Stored, Write } from '../../ports/records.ts';
import type { Decision, Effect } from '../decide.ts';
import { instanceEvent, operationEvent } from '../events/lifecycle.ts';
import type { HostRecord } from '../hosts/host.ts';
import { dequeueCommand, type OutboxEntry } from '../hosts/outbox.ts';
import { keys } from '../keys.ts';
import { ended, endOperation, type OperationRecord } from '../operations/operation.ts';
import { forgetStream, tellOver } from '../streams/attach.ts';
import type { StreamRecord } from '../streams/tickets.ts';
import { planDelete, type Editable } from './change.ts';
import { forgetInstance, profileUses, putInstance, withoutTask, type InstanceRecord, type Task } from './instance.ts';
import type { TaskInput } from './task.ts';

/** What a host answered to a command, with its sequence number. */
export interface Outcome {
  readonly seq: number;
  readonly result?: CommandResult | undefined;
  readonly error?: WireError | undefined;
}

export interface OutcomeState {
  readonly host: HostRecord;
  readonly entry: Stored<OutboxEntry>;
  readonly operation?: Stored<OperationRecord> | undefined;
  readonly instance?: Stored<InstanceRecord> | undefined;
  readonly stream?: Stored<StreamRecord> | undefined;
}

/** Pure: what a host's answer changes. The command leaves the outbox in the same transaction, so a repeated answer finds nothing to do. */
export function planOutcome(state: OutcomeState, outcome: Outcome, input: TaskInput): Decision<undefined> {
  const { host, entry, operation, instance, stream } = state;
  const { now } = input;
  const end =
    operation && !ended(operation.data)
      ? endOperation(operation.data, operation.rev, now, verdict(outcome))
      : undefined;
  const changed = instance && instanceAfter(instance, host, entry.data, operation?.data, outcome, input);
  return {
    writes: [
      ...dequeueCommand(host.id, entry),
      ...(end ? [end.write] : []),
      ...(changed?.writes ?? []),
      ...(stream ? forgetStream(stream.data) : []),
    ],
    effects: [
      ...(changed?.action
        ? [instanceEvent(changed.action, changed.record, host.name, now, operation?.data.actor)]
        : []),
      ...(end ? [operationEvent(end.operation, host.name)] : []),
      ...(stream ? [tellOver(stream.data)] : []),
      ...(changed?.effects ?? []),
    ],
    value: undefined,
  };
}

function verdict({ result, error }: Outcome): Parameters<typeof endOperation>[3] {
  if (error !== undefined) {
    return { status: error.code === 'cancelled' ? STATUS.cancelled : STATUS.failure, error: error.message };
  }
  return { status: STATUS.success, metadata: result?.kind === 'exited' ? { return: result.code } : {} };
}

interface Change {
  readonly record: InstanceRecord;
  readonly writes: readonly Write[];
  readonly effects?: readonly Effect[];
  /** Lifecycle event, if anything worth telling happened. */
  readonly action?: string | undefined;
}

function instanceAfter(
  instance: Stored<InstanceRecord>,
  host: HostRecord,
  entry: OutboxEntry,
  operation: OperationRecord | undefined,
  outcome: Outcome,
  input: TaskInput,
): Change | undefined {
  const { command } = entry;
  const record = instance.data;
  const failed = outcome.error !== undefined;
  if (command.kind === 'exec') return undefined;
  if ((command.kind === 'delete' && !failed) || (command.kind === 'create' && failed)) {
    return { record, writes: forgetInstance(record, instance.rev), action: 'instance-deleted' };
  }
  const released = record.task?.operation === entry.operation ? withoutTask(record) : record;
  const told = outcome.result?.kind === 'instance';
  const edit = told && command.kind === 'update' ? (operation?.request as Editable | undefined) : undefined;
  const after = told ? { ...applyReport(released, outcome.result.report, outcome.seq, input.now), ...edit } : released;
  const next =
    command.kind !== 'update' && endedItsLife(after)
      ? planDelete({ instance: { ...instance, data: after }, host }, input)
      : { writes: [putInstance(after, instance.rev)], effects: [] };
  return {
    record,
    writes: [...next.writes, ...(edit ? changedUses(record, after) : [])],
    effects: next.effects,
    action: told ? ACTION[record.task?.action ?? 'update'] : undefined,
  };
}

/** An ephemeral instance that ran is deleted when it has stopped, as in LXD; however it stopped, and once nothing else is under way. */
export function endedItsLife(record: InstanceRecord): boolean {
  const { ephemeral, status, task, lastUsedAt } = record;
  return ephemeral && status === 'Stopped' && task === undefined && lastUsedAt !== undefined;
}

const ACTION: Readonly<Record<Task['action'], string | undefined>> = {
  create: 'instance-ready',
  start: 'instance-started',
  stop: 'instance-stopped',
  restart: 'instance-restarted',
  freeze: 'instance-paused',
  unfreeze: 'instance-resumed',
  update: 'instance-updated',
  delete: undefined,
  move: undefined,
};

function changedUses(before: InstanceRecord, after: InstanceRecord): Write[] {
  const gone = before.profiles.filter((profile) => !after.profiles.includes(profile));
  const come = after.profiles.filter((profile) => !before.profiles.includes(profile));
  return [
    ...gone.map((profile): Write => ({ op: 'delete', key: keys.profileUse(before.project, profile, before.id) })),
    ...profileUses({ ...after, profiles: come }),
  ];
}

/** Pure: the record with what its host says; the same object when the registry knows that already, or something newer. */
export function applyReport(record: InstanceRecord, report: InstanceReport, seq: number, now: number): InstanceRecord {
  if (seq <= record.seq || report.epoch !== record.epoch || report.id !== record.id) return record;
  const { error: _error, measurement: _measurement, ...rest } = record;
  const started = runs(report.status) && !runs(record.status);
  return {
    ...rest,
    status: report.status,
    seq,
    ...(report.error !== undefined && { error: report.error }),
    ...(report.measurement !== undefined && { measurement: report.measurement }),
    ...(started && { lastUsedAt: now }),
  };
}

function runs(status: InstanceRecord['status']): boolean {
  return status === 'Running' || status === 'Frozen';
}

/** The event that tells of a change a host reported on its own. */
export function reportedEvent(before: InstanceRecord, after: InstanceRecord, host: string, now: number): Effect[] {
  if (before.status === after.status || before.task !== undefined) return [];
  const action = { Running: 'started', Stopped: 'shutdown', Frozen: 'paused', Error: 'failed' }[after.status];
  return [instanceEvent(`instance-${action}`, after, host, now)];
}

const UNSURE = 'Its host did not tell whether it was made. Wait until the host reports, or delete it.';

/**
 * The writes that release an instance whose operation was given up. One that was only being made is forgotten, unless its host may have
 * made it: then it stays, and the next report tells whether there is such an instance.
 */
export function instanceAfterAbandon(
  instance: Stored<InstanceRecord>,
  operation: OperationRecord,
  maybeDone: boolean,
): Write[] {
  if (instance.data.task?.operation !== operation.id) return [];
  const released = withoutTask(instance.data);
  if (instance.data.task.action !== 'create') return [putInstance(released, instance.rev)];
  if (!maybeDone) return forgetInstance(instance.data, instance.rev);
  return [putInstance({ ...released, status: 'Error', error: UNSURE }, instance.rev)];
}
