import type { HostCommand, InstanceReport } from '#shared/link/commands.ts';
import type { PublicKey } from '#shared/link/moves.ts';
import { publicKey } from '#shared/link/moves.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Stored, Write } from '../../ports/records.ts';
import type { Decision, Effect } from '../decide.ts';
import { instanceEvent, operationEvent } from '../events/lifecycle.ts';
import { online, type HostRecord } from '../hosts/host.ts';
import { dequeueCommand, enqueueCommand, recallCommand, type OutboxEntry } from '../hosts/outbox.ts';
import { putInstance, specOf, withoutTask, type InstanceRecord, type ProfileUse } from '../instances/instance.ts';
import { applyReport } from '../instances/outcome.ts';
import { keys } from '../keys.ts';
import { ended, endOperation, putOperation, type OperationRecord } from '../operations/operation.ts';
import type { ProfileRecord } from '../profiles/profile.ts';
import { downtime, putMove, released, type MoveRecord, type MoveRole, type MoveState, type Step } from './move.ts';
import { next, ROLE, type Context, type MoveEvent } from './next.ts';

/** Commands of a move outlive every deadline: their move decides when they are called back. The latest date there is. */
export const NEVER_EXPIRES = 8_640_000_000_000_000;
/** Seconds a clean stop may take before a cold move. */
const STOP_TIMEOUT_S = 120;

/** Everything that is loaded to carry a move on. */
export interface MoveFacts {
  readonly move: Stored<MoveRecord>;
  readonly operation: Stored<OperationRecord> | undefined;
  readonly instance: Stored<InstanceRecord> | undefined;
  readonly hosts: Readonly<Record<MoveRole, HostRecord | undefined>>;
  readonly profiles: ReadonlyMap<string, ProfileRecord>;
  /** Rows that name the instance, for its new name. */
  readonly uses: readonly Stored<ProfileUse>[];
  /** The outbox entries of the steps under way, and of the answered command. */
  readonly entries: ReadonlyMap<string, Stored<OutboxEntry>>;
  /** A host's word on the instance came with the event. */
  readonly report?: { readonly from: MoveRole; readonly report: InstanceReport; readonly seq: number };
}

/** Pure: everything an event changes, as one transaction: the move, its commands, its operation, and the instance. */
export function planMove(facts: MoveFacts, asked: MoveEvent, context: Context): Decision<MoveRecord> {
  const before = facts.move.data;
  const event = asked.is === 'commit' && !mayCommit(facts) ? LOST_HOLD : asked;
  const after = next(before, event, context);
  const answered = 'command' in event ? facts.entries.get(event.command) : undefined;
  const instance = instanceWrites(facts, after, context.now);
  const operation = operationAfter(facts, after, context.now);
  const writes = [
    ...(answered ? dequeueCommand(hostOf(before, roleOf(answered)), answered) : []),
    ...(after === before
      ? []
      : [putMove(after, facts.move.rev), ...commandWrites(facts, after, answered, context.now)]),
    ...(operation ? [operation.write] : []),
    ...instance.writes,
  ];
  return { writes, effects: [...instance.effects, ...effectsOf(facts, after, operation?.record)], value: after };
}

const LOST_HOLD: MoveEvent = {
  is: 'abort',
  error: { code: 'conflict', message: 'The instance was deleted or changed hands while it was moved.' },
};

/** The one authority: the instance is where the move found it, and held by it. Its revision is a condition of the commit. */
function mayCommit({ instance, move: { data } }: MoveFacts): boolean {
  if (instance === undefined) return false;
  const { host, epoch, task } = instance.data;
  return host === data.from && epoch === data.epoch && task?.operation === data.operation;
}

/** Who works on a command of a move. */
export function roleOf({ data }: Stored<OutboxEntry>): MoveRole {
  const { kind } = data.command;
  return kind in ROLE ? ROLE[kind as Step['kind']] : 'source';
}

/** The id of the host in that role. */
export function hostOf(move: MoveRecord, role: MoveRole): string {
  return role === 'source' ? move.from : move.to;
}

const ROLES: readonly MoveRole[] = ['source', 'target'];

/** Steps that are new are put into the outbox; what nobody waits for any more is taken out, or called back when its host may have it. */
function commandWrites(
  facts: MoveFacts,
  after: MoveRecord,
  answered: Stored<OutboxEntry> | undefined,
  now: number,
): Write[] {
  const before = facts.move.data;
  return ROLES.flatMap((role) => {
    const [was, is] = [before.steps[role], after.steps[role]];
    if (was?.command === is?.command) return [];
    const entry = was?.command === undefined ? undefined : facts.entries.get(was.command);
    const over = entry === undefined || entry === answered ? [] : callBack(hostOf(before, role), entry);
    return [...over, ...(is?.command === undefined ? [] : issue(facts, after, is.command, is, now))];
  });
}

function callBack(host: string, entry: Stored<OutboxEntry>): Write[] {
  return entry.data.sentTo === undefined ? dequeueCommand(host, entry) : [recallCommand(host, entry)];
}

function issue(facts: MoveFacts, move: MoveRecord, id: string, step: Step, now: number): Write[] {
  const host = hostOf(move, ROLE[step.kind]);
  const command = commandOf(facts, move, step);
  return enqueueCommand({ id, host, operation: move.operation, command }, move.project, now, NEVER_EXPIRES);
}

/** What the host is told. */
export function commandOf(
  facts: Pick<MoveFacts, 'instance' | 'hosts' | 'profiles'>,
  move: MoveRecord,
  step: Pick<Step, 'kind'>,
): HostCommand {
  const { id, attempt, epoch, live } = move;
  const own = { move: id, id: move.instance };
  switch (step.kind) {
    case 'send':
      return { kind: 'send', ...own, attempt, epoch, pass: 1 };
    case 'park':
      return { kind: 'park', ...own, attempt, epoch, live, timeout: STOP_TIMEOUT_S };
    case 'unpark':
    case 'retire':
      return { kind: step.kind, ...own, epoch };
    case 'adopt':
      return { kind: 'adopt', ...own, epoch: epoch + 1 };
    case 'forget':
    case 'discard':
      return { kind: step.kind, ...own };
    case 'receive':
      return { kind: 'receive', ...arriving(facts, move) };
    case 'prepare':
      return { kind: 'prepare', ...arriving(facts, move), live, start: move.start && !live };
  }
}

function arriving(facts: Pick<MoveFacts, 'instance' | 'hosts' | 'profiles'>, move: MoveRecord) {
  const { instance, hosts, profiles } = facts;
  if (instance === undefined || hosts.source === undefined) {
    throw new Error(`move ${move.id} goes on without its instance or its source`);
  }
  return {
    move: move.id,
    attempt: move.attempt,
    instance: specOf({ ...instance.data, name: move.newName, epoch: move.epoch + 1 }, profiles),
    sourceKey: keyOf(hosts.source),
    manifests: [...move.manifests],
  };
}

/** The key with which a host signs its manifests. */
function keyOf(host: HostRecord): PublicKey {
  return publicKey.parse(host.key);
}

/**
 * The instance: changed hands at the commit, and released at the end. COMMITTED is entered in this very transaction, under the revisions
 * of move and instance: the one place where `host` and `epoch` change.
 */
function instanceWrites(facts: MoveFacts, after: MoveRecord, now: number): { writes: Write[]; effects: Effect[] } {
  const {
    instance,
    move: { data: before },
  } = facts;
  const rows = endedReservation(before, after);
  if (instance === undefined || instance.data.task?.operation !== after.operation) return { writes: rows, effects: [] };
  if (after.state === 'COMMITTED' && before.state !== 'COMMITTED') {
    const moved = atTarget(instance.data, after);
    const effects = [instanceEvent('instance-migrated', moved, facts.hosts.target?.name ?? 'none', now, after.actor)];
    return { writes: [putInstance(moved, instance.rev), ...changedIndexes(facts, instance.data, after)], effects };
  }
  if (!released(after) || released(before)) return { writes: rows, effects: [] };
  return {
    writes: [...rows, putInstance(reported(facts, withoutTask(instance.data), now), instance.rev)],
    effects: [],
  };
}

function reported({ report, move: { data } }: MoveFacts, instance: InstanceRecord, now: number): InstanceRecord {
  if (report === undefined || hostOf(data, report.from) !== instance.host) return instance;
  return applyReport(instance, report.report, report.seq, now);
}

/** The target counts its own sequence numbers, from one. */
function atTarget(record: InstanceRecord, move: MoveRecord): InstanceRecord {
  const { measurement: _there, error: _then, ...rest } = record;
  return { ...rest, host: move.to, name: move.newName, epoch: move.epoch + 1, seq: 0 };
}

/** The target's row was written when the move began; now the name resolves to it, and the source's rows go. */
function changedIndexes({ uses }: MoveFacts, { id, project, host, name }: InstanceRecord, move: MoveRecord): Write[] {
  return [
    { op: 'delete', key: keys.instanceOn(project, host, name) },
    { op: 'delete', key: keys.instanceNamed(project, name, host) },
    { op: 'put', key: keys.instanceNamed(project, move.newName, move.to), data: { id }, when: 'absent' },
    ...(move.newName === name ? [] : uses).map(({ pk, sk, rev }): Write => ({
      op: 'put',
      key: { pk, sk },
      data: { id, name: move.newName } satisfies ProfileUse,
      when: { rev },
    })),
  ];
}

/** The name on the target is free again once nothing of the instance is there. */
function endedReservation(before: MoveRecord, after: MoveRecord): Write[] {
  if (after.state !== 'ABORTED' || before.state === 'ABORTED') return [];
  return [{ op: 'delete', key: keys.instanceOn(after.project, after.to, after.newName) }];
}

/** What users read while the move is in a state. */
export const PHASE: Readonly<Record<MoveState, string>> = {
  PRECOPY: 'copying files while it goes on',
  QUIESCING: 'standing still, sending the rest',
  PREPARING: 'preparing on the target',
  PREPARED: 'prepared on the target',
  COMMITTED: 'switching over',
  RETIRING: 'runs on the target',
  DONE: 'done',
  ABORTING: 'going back',
  ABORTED: 'went back',
  LOST: 'lost with the target host',
};

/** The operation follows the move: which host it waits for, the phase, and its end when the instance is released. */
function operationAfter(
  { operation, move: { data: before }, hosts }: MoveFacts,
  after: MoveRecord,
  now: number,
): { record: OperationRecord; write: Write } | undefined {
  if (operation === undefined || ended(operation.data) || after === before) return undefined;
  if (released(after)) {
    const { operation: record, write } = endOperation(operation.data, operation.rev, now, verdict(after, hosts, now));
    return { record, write };
  }
  const { host: _host, command: _command, ...rest } = operation.data;
  const record: OperationRecord = {
    ...rest,
    ...waitsFor(after, hosts),
    updatedAt: now,
    metadata: {
      ...operation.data.metadata,
      phase: PHASE[after.state],
      move_progress: PHASE[after.state],
      ...(after.frozenAt !== undefined && { frozen_at: new Date(after.frozenAt).toISOString() }),
    },
  };
  return { record, write: putOperation(record, operation.rev) };
}

function verdict(move: MoveRecord, hosts: MoveFacts['hosts'], now: number): Parameters<typeof endOperation>[3] {
  const metadata = { phase: PHASE[move.state], move_progress: PHASE[move.state], bytes: move.bytes };
  if (move.error === undefined) {
    const stood = downtime(move, now);
    return { status: STATUS.success, metadata: { ...metadata, ...(stood !== undefined && { downtime_ms: stood }) } };
  }
  const status = move.error.code === 'cancelled' ? STATUS.cancelled : STATUS.failure;
  return { status, error: `${move.error.message} ${whereItIs(move, hosts)}`, metadata };
}

function whereItIs(move: MoveRecord, hosts: MoveFacts['hosts']): string {
  const source = hosts.source?.name ?? 'its host';
  if (move.state === 'LOST') return `Host ${source} holds a copy of "${move.name}" that stands still.`;
  if (hosts.source === undefined) return `"${move.name}" went with its host.`;
  const trouble = move.problem === undefined ? '' : ` That host had trouble with it: ${move.problem}`;
  return `"${move.name}" stays on host ${source}.${trouble}`;
}

/** The host whose answer the move waits for, one that is away first: that is the reason it waits. */
function waitsFor(move: MoveRecord, hosts: MoveFacts['hosts']): { host?: string; command?: string } {
  const waiting = ROLES.filter((role) => move.steps[role]?.command !== undefined);
  const role = waiting.find((role) => !present(hosts[role])) ?? waiting[0];
  const command = role && move.steps[role]?.command;
  return role === undefined || command === undefined
    ? { host: hostOf(move, 'source') }
    : { host: hostOf(move, role), command };
}

function present(host: HostRecord | undefined): boolean {
  return host !== undefined && online(host);
}

function effectsOf({ move, hosts }: MoveFacts, after: MoveRecord, operation: OperationRecord | undefined): Effect[] {
  const delivered = ROLES.filter((role) => move.data.steps[role]?.command !== after.steps[role]?.command);
  return [
    ...delivered.map((role): Effect => ({ do: 'deliver', host: hostOf(after, role) })),
    ...(operation ? [operationEvent(operation, hosts.source?.name ?? 'none')] : []),
  ];
}
