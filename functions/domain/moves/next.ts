import type { CommandResult } from '#shared/link/commands.ts';
import type { WireError } from '#shared/link/frames.ts';
import type { ManifestRef } from '#shared/link/moves.ts';

import { beforeCommit, type MoveRecord, type MoveRole, type MoveState, type Step, type StepKind } from './move.ts';

/** What happens to a move. A host's answer names its command: one that the move does not wait for (any more) changes nothing. */
export type MoveEvent =
  | { readonly is: 'answered'; readonly command: string; readonly result: CommandResult }
  | { readonly is: 'failed'; readonly command: string; readonly error: WireError }
  | { readonly is: 'commit' }
  | { readonly is: 'abort'; readonly error: WireError }
  /** The host was removed from the fleet: it will never answer. */
  | { readonly is: 'gone'; readonly role: MoveRole }
  /** Time went by; `heard` is when progress was last told. */
  | { readonly is: 'tick'; readonly heard: number };

export interface Context {
  readonly now: number;
  /** Ids for the commands that may come of this event. */
  readonly ids: Readonly<Record<MoveRole, string>>;
}

/** Before the commit, a state in which nothing was heard for so long is given up (security.md §4.2). */
export const STALLED_MS: Readonly<Partial<Record<MoveState, number>>> = {
  PRECOPY: 60 * 60_000,
  QUIESCING: 15 * 60_000,
  PREPARING: 15 * 60_000,
  PREPARED: 2 * 60_000,
};
/** A step that failed is said again after so long, doubling. */
const AGAIN_MIN_MS = 5_000;
const AGAIN_MAX_MS = 10 * 60_000;
/** Rolling back is tried so often; then a person must look. Rolling forward is never given up. */
export const MAX_ROLLBACKS = 5;

export const ROLE: Readonly<Record<StepKind, MoveRole>> = {
  send: 'source',
  park: 'source',
  unpark: 'source',
  retire: 'source',
  forget: 'source',
  receive: 'target',
  prepare: 'target',
  adopt: 'target',
  discard: 'target',
};

/** Pure: the move after an event; the same object when the event changes nothing. */
export function next(move: MoveRecord, event: MoveEvent, context: Context): MoveRecord {
  switch (event.is) {
    case 'answered':
    case 'failed': {
      const role = (['source', 'target'] as const).find((role) => move.steps[role]?.command === event.command);
      const step = role && move.steps[role];
      if (role === undefined || step === undefined) return move;
      const done =
        event.is === 'answered' ? DONE[step.kind](without(move, role), event.result, context, step) : undefined;
      if (done !== undefined) return done;
      return failed(move, step, event.is === 'failed' ? event.error : unexpected(step), context);
    }
    case 'commit':
      return move.state === 'PREPARED' ? enter(move, 'COMMITTED', ['adopt'], context) : move;
    case 'abort':
      return beforeCommit(move) ? abort(move, event.error, context) : move;
    case 'gone':
      return gone(move, event.role, context);
    case 'tick':
      return tick(move, event.heard, context);
  }
}

type Done = (move: MoveRecord, result: CommandResult, context: Context, step: Step) => MoveRecord | undefined;

/** What follows when a step succeeded; `move` is without that step. Undefined for a result that does not belong to it. */
const DONE: Readonly<Record<StepKind, Done>> = {
  send: (move, result, context) =>
    result.kind === 'sent'
      ? precopied({ ...move, manifests: merge(move, [result.manifest]), bytes: move.bytes + result.bytes }, context)
      : undefined,
  receive: (move, result, context, step) =>
    result.kind === 'received' ? precopied({ ...move, applied: step.manifests ?? 0 }, context) : undefined,
  park: (move, result, context) =>
    result.kind === 'parked'
      ? enter(
          {
            ...move,
            manifests: merge(move, result.manifests),
            bytes: move.bytes + result.bytes,
            start: result.running,
            frozenAt: standsStillSince(result, move.since, context.now),
          },
          'PREPARING',
          ['prepare'],
          context,
        )
      : undefined,
  prepare: (move, result, context) => (result.kind === 'prepared' ? enter(move, 'PREPARED', [], context) : undefined),
  adopt: (move, result, context) =>
    result.kind === 'instance'
      ? enter({ ...move, adoptedAt: context.now }, 'RETIRING', ['retire'], context)
      : undefined,
  retire: (move, result, context) => (result.kind === 'retired' ? retired(move, context) : undefined),
  forget: (move, result) => (result.kind === 'deleted' ? { ...move, forgotten: true } : undefined),
  unpark: (move, result, context) => (result.kind === 'instance' ? rolledBack(move, context) : undefined),
  discard: (move, result, context) => (result.kind === 'deleted' ? rolledBack(move, context) : undefined),
};

/** By how long the host says it has been; its wall clock may be wrong. It stood still after it was asked to and before it said so. */
function standsStillSince(
  { since, away }: Extract<CommandResult, { kind: 'parked' }>,
  asked: number,
  now: number,
): number {
  return Math.min(Math.max(away === undefined ? since : now - away, asked), now);
}

/** Both ends work side by side; the target is told of the manifest as soon as it is ready to hear of it. */
function precopied(move: MoveRecord, context: Context): MoveRecord {
  if (move.steps.source !== undefined || move.steps.target !== undefined) return move;
  if (move.applied < move.manifests.length) return withStep(move, 'receive', context);
  return enter(move, 'QUIESCING', ['park'], context);
}

function retired(move: MoveRecord, context: Context): MoveRecord {
  const done = { ...move, forgetAt: context.now + move.keepMs };
  return enter(done, 'DONE', move.keepMs === 0 ? ['forget'] : [], context);
}

function rolledBack(move: MoveRecord, context: Context): MoveRecord {
  const { source, target } = move.steps;
  return source === undefined && target === undefined ? enter(move, 'ABORTED', [], context) : move;
}

/** Whatever the hosts work on is called back, and each undoes what it may have begun. */
function abort(move: MoveRecord, error: WireError, context: Context): MoveRecord {
  // `receive` is said with the first step, `park` with QUIESCING: a host that was never asked has nothing to undo.
  const undo: StepKind[] = move.state === 'PRECOPY' ? ['discard'] : ['unpark', 'discard'];
  return enter({ ...move, steps: {}, error }, 'ABORTING', undo, context);
}

function failed(move: MoveRecord, step: Step, error: WireError, context: Context): MoveRecord {
  if (beforeCommit(move)) return abort(move, error, context);
  const role = ROLE[step.kind];
  const failures = step.failures + 1;
  if (move.state === 'ABORTING' && failures >= MAX_ROLLBACKS) {
    return { ...rolledBack(without(move, role), context), problem: error.message };
  }
  const again: Step = { kind: step.kind, failures, at: context.now };
  const waiting = { ...move, problem: error.message, steps: { ...move.steps, [role]: again } };
  // Most often its connector was only restarted, and somebody waits: the first time it is said again at once.
  return failures === 1 ? withStep(waiting, step.kind, context) : waiting;
}

function gone(move: MoveRecord, role: MoveRole, context: Context): MoveRecord {
  const removed = { code: 'unavailable', message: `The ${role} host was removed from the fleet.` } as const;
  const after = beforeCommit(move) ? abort(move, removed, context) : move;
  const rest = without(after, role);
  switch (after.state) {
    case 'ABORTING':
      return rolledBack(rest, context);
    case 'RETIRING':
      return role === 'source' ? { ...enter(rest, 'DONE', [], context), forgotten: true } : after;
    case 'DONE':
      return role === 'source' && after.forgotten === undefined ? { ...rest, forgotten: true } : after;
    case 'COMMITTED':
      // Its instance was forgotten with the host; what the source has stands still there until somebody decides.
      return role === 'target' ? { ...enter(rest, 'LOST', [], context), error: removed } : after;
    case 'LOST':
    case 'ABORTED':
    case 'PRECOPY':
    case 'QUIESCING':
    case 'PREPARING':
    case 'PREPARED':
      return after;
  }
}

function tick(move: MoveRecord, heard: number, context: Context): MoveRecord {
  const limit = STALLED_MS[move.state];
  if (limit !== undefined && Math.max(heard, move.since) + limit <= context.now) {
    const minutes = Math.round(limit / 60_000);
    return abort(
      move,
      { code: 'timed_out', message: `Nothing was heard of the move for ${minutes} minutes.` },
      context,
    );
  }
  const repeated = Object.values(move.steps)
    .filter(({ command, failures, at }) => command === undefined && at + againMs(failures) <= context.now)
    .reduce((after, { kind }) => withStep(after, kind, context), move);
  const overdue = move.forgetAt !== undefined && move.forgetAt <= context.now;
  if (move.state === 'DONE' && overdue && move.forgotten === undefined && move.steps.source === undefined) {
    return withStep(repeated, 'forget', context);
  }
  return repeated;
}

function againMs(failures: number): number {
  return Math.min(AGAIN_MAX_MS, AGAIN_MIN_MS * 2 ** (failures - 1));
}

function enter(move: MoveRecord, state: MoveState, steps: readonly StepKind[], context: Context): MoveRecord {
  const { problem: _over, ...rest } = move;
  const entered: MoveRecord = { ...rest, state, since: context.now };
  return steps.reduce((after: MoveRecord, kind) => withStep(after, kind, context), entered);
}

/** The move with a command for the step's host; it counts on where it failed before. */
export function withStep(move: MoveRecord, kind: StepKind, { now, ids }: Context): MoveRecord {
  const role = ROLE[kind];
  const before = move.steps[role];
  const step: Step = {
    kind,
    command: ids[role],
    failures: before?.kind === kind ? before.failures : 0,
    at: now,
    ...(kind === 'receive' && { manifests: move.manifests.length }),
  };
  return { ...move, steps: { ...move.steps, [role]: step } };
}

function without(move: MoveRecord, role: MoveRole): MoveRecord {
  const { [role]: _done, ...steps } = move.steps;
  return { ...move, steps };
}

/** In the order they came, each once: a host may name those again that it named before. */
function merge({ manifests }: MoveRecord, more: readonly ManifestRef[]): ManifestRef[] {
  return [...manifests, ...more.filter(({ name }) => !manifests.some((known) => known.name === name))];
}

function unexpected({ kind }: Step): WireError {
  return { code: 'protocol', message: `The host answered ${kind} with something else. Update its connector.` };
}
