import { FairleadError } from '#shared/errors.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored } from '../../ports/records.ts';
import { decide, type Decision } from '../decide.ts';
import { perform } from '../effects.ts';
import { operationEvent } from '../events/lifecycle.ts';
import { assertFits, enqueueCommand } from '../hosts/outbox.ts';
import { hostByName, onceBack, type HostRecord } from '../hosts/host.ts';
import { putInstance, type InstanceRecord } from '../instances/instance.ts';
import { findInstance } from '../instances/lookup.ts';
import { keys } from '../keys.ts';
import { newOperation, renderOperation, type OperationRecord } from '../operations/operation.ts';
import { profilesOf, type ProfileRecord } from '../profiles/profile.ts';
import type { Actor } from '../trust/actor.ts';
import { allMoves } from './advance.ts';
import { renderMove, type Move, type MoveRecord, type MoveRole } from './move.ts';
import { withStep, type Context } from './next.ts';
import { commandOf, hostOf, NEVER_EXPIRES, PHASE } from './plan.ts';
import { knownBlockers, preflight, refusal, type Plan, type Preflight, type Rung } from './preflight.ts';

/** How long a source keeps the data of an instance that moved away. */
const KEEP_MS = 24 * 60 * 60_000;

export interface MoveRequest {
  readonly instance: string;
  /** Host names. */
  readonly from?: string | undefined;
  readonly to: string;
  /** Its name on the target; the same when left out. */
  readonly name?: string | undefined;
  /** What may be done, best first; left out: live if it runs, cold if it does not. */
  readonly allow?: readonly Rung[] | undefined;
  /** The source keeps its data for a day. */
  readonly keep: boolean;
}

interface Loaded {
  readonly plan: Plan;
  readonly instance: Stored<InstanceRecord>;
  readonly hosts: Readonly<Record<MoveRole, HostRecord>>;
  readonly profiles: ReadonlyMap<string, ProfileRecord>;
}

/** What stands against a move, and how it would go. Changes nothing. @throws FairleadError `not_found`, `ambiguous_name`. */
export async function checkMove(ports: Ports, project: string, request: MoveRequest): Promise<Preflight> {
  const { plan, profiles } = await load(ports, project, request);
  return preflight(ports, plan, profiles);
}

/**
 * Begins to move an instance. Nothing is written before both hosts agreed; then the instance is locked, its name on the target taken, and
 * the move written down, in one transaction.
 * @throws FairleadError `wrong_state` or `busy` with every reason; `not_found`, `ambiguous_name`.
 */
export async function startMove(ports: Ports, actor: Actor, project: string, request: MoveRequest): Promise<Operation> {
  const loaded = await load(ports, project, request);
  const found = await preflight(ports, loaded.plan, loaded.profiles);
  if (found.rung === undefined) throw refusal(request.instance, request.to, found, request.allow);
  const input: StartInput = {
    now: ports.clock.now(),
    ids: { source: ports.random.uuid(), target: ports.random.uuid() },
    move: ports.random.uuid(),
    operation: ports.random.uuid(),
  };
  const how = { rung: found.rung, running: found.running, keep: request.keep };
  const { value, effects } = await decide(
    ports,
    () => load(ports, project, request),
    (now) => {
      refuseChanged(loaded, now);
      return planStart(now, how, actor.user, input);
    },
  );
  await perform(ports, effects);
  return renderOperation(value, loaded.hosts.source.name);
}

/** A host says something of its instance every now and then; that is no reason. */
function refuseChanged(before: Loaded, now: Loaded): void {
  const { id, host, epoch } = now.instance.data;
  const same = id === before.plan.instance.id && host === before.plan.source.id && epoch === before.plan.instance.epoch;
  if (!same)
    throw new FairleadError('conflict', `"${before.plan.instance.name}" was moved or made anew just now. Try again.`);
  const blockers = knownBlockers(now.plan);
  if (blockers.length === 0) return;
  throw refusal(
    now.plan.instance.name,
    now.hosts.target.name,
    { running: false, disk: 0, memory: 0, blockers },
    undefined,
  );
}

async function load(ports: Ports, project: string, request: MoveRequest): Promise<Loaded> {
  const { instance: name, from, to, allow } = request;
  const [{ instance, host: source }, target, profiles] = await Promise.all([
    findInstance(ports, { project, name, target: from }),
    hostByName(ports.records, to),
    profilesOf(ports.records, project),
  ]);
  const newName = request.name ?? name;
  const taken = (await ports.records.get(keys.instanceOn(project, target.data.id, newName))) !== undefined;
  const hosts = { source: await onceBack(ports, source.data), target: await onceBack(ports, target.data) };
  return { plan: { instance: instance.data, ...hosts, newName, taken, allow }, instance, hosts, profiles };
}

interface StartInput extends Context {
  readonly move: string;
  readonly operation: string;
}

/** Pure: everything that is written when a move begins. */
export function planStart(
  { plan, instance, hosts, profiles }: Loaded,
  how: { readonly rung: Rung; readonly running: boolean; readonly keep: boolean },
  actor: string,
  input: StartInput,
): Decision<OperationRecord> {
  const { now } = input;
  const { id, project, name, epoch } = instance.data;
  const begun: MoveRecord = {
    id: input.move,
    project,
    operation: input.operation,
    actor,
    instance: id,
    name,
    newName: plan.newName,
    from: hosts.source.id,
    to: hosts.target.id,
    epoch,
    live: how.rung === 'live',
    start: how.running,
    keepMs: how.keep ? KEEP_MS : 0,
    state: 'PRECOPY',
    since: now,
    attempt: 1,
    steps: {},
    manifests: [],
    applied: 0,
    bytes: 0,
    startedAt: now,
  };
  // The target gets ready to fetch while the source already sends.
  const move = withStep(withStep(begun, 'receive', input), 'send', input);
  const facts = { instance, hosts, profiles };
  assertFits(commandOf(facts, { ...move, manifests: MOST_MANIFESTS }, { kind: 'prepare' }));
  const commands = (['target', 'source'] as const).flatMap((role) => {
    const step = move.steps[role];
    if (step?.command === undefined) return [];
    const outgoing = {
      id: step.command,
      host: hostOf(move, role),
      operation: move.operation,
      command: commandOf(facts, move, step),
    };
    return enqueueCommand(outgoing, project, now, NEVER_EXPIRES);
  });
  const { operation, write } = newOperation({
    id: input.operation,
    project,
    description: how.rung === 'live' ? 'Moving instance, live' : 'Moving instance',
    actor,
    now,
    // Its move knows when it is over.
    deadline: NEVER_EXPIRES,
    resources: { instances: [`/1.0/instances/${name}`] },
    metadata: { move: move.id, phase: PHASE.PRECOPY, move_progress: PHASE.PRECOPY },
    host: hosts.source.id,
    command: input.ids.source,
    instance: id,
    move: move.id,
  });
  return {
    writes: [
      write,
      { op: 'put', key: keys.move(project, move.id), data: move, when: 'absent' },
      putInstance({ ...instance.data, task: { operation: operation.id, action: 'move' } }, instance.rev),
      { op: 'put', key: keys.instanceOn(project, move.to, move.newName), data: { id }, when: 'absent' },
      // A host must not be forgotten while an instance is on its way there.
      { op: 'check', key: keys.hostName(hosts.target.name), when: { rev: 1 } },
      ...commands,
    ],
    effects: [
      { do: 'deliver', host: move.to },
      { do: 'deliver', host: move.from },
      operationEvent(operation, hosts.source.name),
    ],
    value: operation,
  };
}

/** As many manifests as a command names at most: it must fit a frame when it has them all. */
const MOST_MANIFESTS = Array.from({ length: 8 }, () => ({
  name: 'm'.repeat(120),
  sha256: '0'.repeat(64),
  length: 1e9,
}));

/** Every move that can still be listed, newest first. */
export async function listMoves(ports: Ports, project: string): Promise<Move[]> {
  const moves = (await allMoves(ports, project)).map(({ data }) => data);
  const names = await hostNames(ports, moves);
  return moves.toSorted((a, b) => b.startedAt - a.startedAt).map((move) => renderMove(move, names));
}

/** @throws FairleadError `not_found`. */
export async function getMove(ports: Ports, project: string, id: string): Promise<Move> {
  const stored = await ports.records.get<MoveRecord>(keys.move(project, id));
  if (stored === undefined)
    throw new FairleadError('not_found', `Move "${id}" not found. "fairlead move list" shows them.`);
  return renderMove(stored.data, await hostNames(ports, [stored.data]));
}

async function hostNames(ports: Ports, moves: readonly MoveRecord[]): Promise<Map<string, string>> {
  const ids = [...new Set(moves.flatMap(({ from, to }) => [from, to]))];
  const hosts = await Promise.all(ids.map((id) => ports.records.get<HostRecord>(keys.host(id))));
  return new Map(hosts.flatMap((host) => (host === undefined ? [] : [[host.data.id, host.data.name] as const])));
}
