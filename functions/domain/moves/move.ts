import type { ManifestRef } from '#shared/link/moves.ts';
import type { WireError } from '#shared/link/frames.ts';

import type { Write } from '../../ports/records.ts';
import { keys } from '../keys.ts';

/**
 * The states of a move that has begun. Until PREPARED every failure leads to ABORTING and the source goes on; COMMITTED is the one write
 * that changes the instance's host, and from there everything rolls forward. Preflight comes before all of this and leaves no record.
 */
export type MoveState =
  /** The first pass of the filesystem travels while the instance goes on. */
  | 'PRECOPY'
  /** The source stops or freezes it, and sends the rest. */
  | 'QUIESCING'
  /** The target applies the rest and restores the memory; nothing runs there. */
  | 'PREPARING'
  /** Both ends are parked. */
  | 'PREPARED'
  /** The instance belongs to the target, which shall run it. */
  | 'COMMITTED'
  /** It runs on the target; the source gives up its copy. */
  | 'RETIRING'
  /** Moved. The source keeps its data until `forgetAt`. */
  | 'DONE'
  /** The source takes it back, the target throws away what came. */
  | 'ABORTING'
  | 'ABORTED'
  /** The target was removed from the fleet before it said that the instance runs. The source holds a copy that stands still. */
  | 'LOST';

export type MoveRole = 'source' | 'target';

/** What a host is asked during a move; `shared/link/moves.ts` says what each does. */
export type StepKind = 'send' | 'receive' | 'park' | 'prepare' | 'adopt' | 'retire' | 'forget' | 'unpark' | 'discard';

/** What one end works on. */
export interface Step {
  readonly kind: StepKind;
  /** The command in the outbox; absent after a failure, until it is said again. */
  readonly command?: string;
  readonly failures: number;
  /** When it was said, or failed. */
  readonly at: number;
  /** `receive`: so many manifests it was told of. */
  readonly manifests?: number;
}

/** A move as it is stored. Times in ms, sizes in bytes. */
export interface MoveRecord {
  readonly id: string;
  readonly project: string;
  readonly operation: string;
  readonly actor: string;
  readonly instance: string;
  readonly name: string;
  /** Its name on the target. */
  readonly newName: string;
  /** Host ids. */
  readonly from: string;
  readonly to: string;
  /** The instance's epoch on the source; the target's copy has the next one. */
  readonly epoch: number;
  readonly live: boolean;
  /** It ran when it was parked, so it runs on the target. */
  readonly start: boolean;
  /** How long the source keeps its data afterwards. */
  readonly keepMs: number;
  readonly state: MoveState;
  /** When that state was entered. */
  readonly since: number;
  readonly attempt: number;
  /** At most one step at each end. */
  readonly steps: Readonly<Partial<Record<MoveRole, Step>>>;
  readonly manifests: readonly ManifestRef[];
  /** So many of them the target has applied. */
  readonly applied: number;
  readonly bytes: number;
  readonly startedAt: number;
  /** When it stood still, and when it was said to run again. */
  readonly frozenAt?: number;
  readonly adoptedAt?: number;
  /** Why it was given up. */
  readonly error?: WireError;
  /** A step failed and is repeated. */
  readonly problem?: string;
  /** DONE: when the source's data go, and that they are gone. */
  readonly forgetAt?: number;
  readonly forgotten?: true;
  /** Its objects were deleted, after the last signed URL had expired. */
  readonly collected?: true;
}

/** How long a finished move can still be listed. */
const MOVE_KEPT_MS = 7 * 24 * 60 * 60_000;

const BEFORE_COMMIT: ReadonlySet<MoveState> = new Set(['PRECOPY', 'QUIESCING', 'PREPARING', 'PREPARED']);

/** Whether the move can still be given up. */
export function beforeCommit({ state }: Pick<MoveRecord, 'state'>): boolean {
  return BEFORE_COMMIT.has(state);
}

/** Whether the instance is anybody's again: it runs on the target, or the source has taken it back. */
export function released({ state, steps }: MoveRecord): boolean {
  return (
    state === 'RETIRING' ||
    state === 'DONE' ||
    state === 'ABORTED' ||
    state === 'LOST' ||
    (state === 'ABORTING' && steps.source === undefined)
  );
}

/** Whether no host has anything left to do or to keep. */
export function finished({ state, forgotten }: MoveRecord): boolean {
  return state === 'ABORTED' || state === 'LOST' || (state === 'DONE' && forgotten === true);
}

/** Ms it stood still, as far as that is known. */
export function downtime({ frozenAt, adoptedAt }: MoveRecord, now: number): number | undefined {
  return frozenAt === undefined ? undefined : Math.max(0, Math.round((adoptedAt ?? now) - frozenAt));
}

/** The write that changes a move; a finished one goes after a while. */
export function putMove(move: MoveRecord, rev: number): Write {
  const over = finished(move) && move.collected === true;
  return {
    op: 'put',
    key: keys.move(move.project, move.id),
    data: move,
    when: { rev },
    ...(over && { expiresAt: move.since + MOVE_KEPT_MS }),
  };
}

/** A move as `/1.0/fleet/moves` shows it. */
export interface Move {
  id: string;
  instance: string;
  name: string;
  /** Host names. */
  source: string;
  target: string;
  live: boolean;
  state: MoveState;
  operation: string;
  created_at: string;
  updated_at: string;
  bytes: number;
  downtime_ms: number | null;
  error: string;
  /** What a host failed at and tries again. */
  problem: string;
  /** Until when the source keeps its copy. */
  kept_until: string | null;
}

/** Renders a move; `hostNames` by id, a removed host shows as its id. */
export function renderMove(move: MoveRecord, hostNames: ReadonlyMap<string, string>): Move {
  const kept = move.forgotten === true ? undefined : move.forgetAt;
  return {
    id: move.id,
    instance: move.name,
    name: move.newName,
    source: hostNames.get(move.from) ?? move.from,
    target: hostNames.get(move.to) ?? move.to,
    live: move.live,
    state: move.state,
    operation: `/1.0/operations/${move.operation}`,
    created_at: new Date(move.startedAt).toISOString(),
    updated_at: new Date(move.since).toISOString(),
    bytes: move.bytes,
    downtime_ms: move.adoptedAt === undefined ? null : (downtime(move, move.adoptedAt) ?? null),
    error: move.error?.message ?? '',
    problem: move.problem ?? '',
    kept_until: kept === undefined ? null : new Date(kept).toISOString(),
  };
}
