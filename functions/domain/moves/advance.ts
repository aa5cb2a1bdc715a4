import { FairleadError, messageOf } from '#shared/errors.ts';
import { toWire } from '#shared/link/frames.ts';

import type { Ports } from '../../ports/ports.ts';
import { live, queryAll, type Stored } from '../../ports/records.ts';
import { decide, nothing } from '../decide.ts';
import { perform } from '../effects.ts';
import { hostById, type HostRecord } from '../hosts/host.ts';
import { commandById, deliver, type OutboxEntry } from '../hosts/outbox.ts';
import type { InstanceRecord, ProfileUse } from '../instances/instance.ts';
import type { Outcome } from '../instances/outcome.ts';
import { keys } from '../keys.ts';
import type { OperationRecord } from '../operations/operation.ts';
import { profilesOf } from '../profiles/profile.ts';
import { beforeCommit, finished, putMove, type MoveRecord, type MoveRole } from './move.ts';
import type { MoveEvent } from './next.ts';
import { collectObjects, objectsAreAll, objectsMayGo } from './objects.ts';
import { hostOf, planMove, type MoveFacts } from './plan.ts';

/** The move a command belongs to, if it belongs to one. */
export function moveOf({ command }: OutboxEntry): string | undefined {
  return 'move' in command ? command.move : undefined;
}

/** A host answered a command of a move: the move goes on. An answer that nobody waits for any more only leaves the outbox. */
export async function moveAnswered(
  ports: Ports,
  host: HostRecord,
  entry: OutboxEntry,
  { seq, result, error }: Outcome,
): Promise<void> {
  const failure = error ?? { code: 'protocol' as const, message: 'The host answered nothing. Update its connector.' };
  const event: MoveEvent =
    error === undefined && result !== undefined
      ? { is: 'answered', command: entry.id, result }
      : { is: 'failed', command: entry.id, error: failure };
  const said = result?.kind === 'instance' ? { report: result.report, seq } : undefined;
  await advance(ports, entry.project, moveOf(entry) ?? '', event, (facts) => {
    const from: MoveRole = facts.move.data.from === host.id ? 'source' : 'target';
    return said === undefined ? facts : { ...facts, report: { from, ...said } };
  });
}

/** Gives a move up. @throws FairleadError `wrong_state` once it is committed, or is being given up. */
export async function abortMove(ports: Ports, project: string, id: string, error: FairleadError): Promise<void> {
  const event: MoveEvent = { is: 'abort', error: toWire(error) };
  await advance(ports, project, id, event, (facts) => {
    const { data } = facts.move;
    if (beforeCommit(data)) return facts;
    throw new FairleadError(
      'wrong_state',
      data.state === 'ABORTING'
        ? 'The move is being given up already. Wait until its hosts have answered.'
        : `"${data.newName}" belongs to the target host by now, so the move cannot be cancelled. Move it back when it is done.`,
    );
  });
}

/** Time went by: what stalls is given up, what failed is repeated, what is over is cleared away. */
export async function tickMove(ports: Ports, project: string, id: string): Promise<void> {
  const move = await advance(ports, project, id, (facts) => {
    const role = (['source', 'target'] as const).find((role) => facts.hosts[role] === undefined);
    if (role !== undefined && !finished(facts.move.data)) return { is: 'gone', role };
    // A commit that was lost with its function.
    if (facts.move.data.state === 'PREPARED') return { is: 'commit' };
    return { is: 'tick', heard: facts.operation?.data.updatedAt ?? 0 };
  });
  if (move === undefined || (finished(move) && move.collected === true)) return;
  for (const role of ['source', 'target'] as const) {
    if (move.steps[role]?.command !== undefined) await deliver(ports, hostOf(move, role));
  }
  if (objectsMayGo(move) && move.collected !== true) await collect(ports, move);
}

/** Every move there is that still has something to do. */
export async function sweepMoves(ports: Ports, project: string): Promise<void> {
  for (const { data } of await allMoves(ports, project)) {
    if (finished(data) && data.collected === true) continue;
    try {
      await tickMove(ports, project, data.id);
    } catch (error) {
      ports.log.error('a move could not be carried on', { move: data.id, error: messageOf(error) });
    }
  }
}

/** Every move that can still be listed. */
export async function allMoves(ports: Ports, project: string): Promise<Stored<MoveRecord>[]> {
  const pages = await Promise.all(keys.moves(project).map((pk) => queryAll<MoveRecord>(ports.records, pk)));
  return pages.flat().filter((stored) => live(stored, ports.clock.now()));
}

/** Deletes its objects, and notes that when none can come any more. */
async function collect(ports: Ports, move: MoveRecord): Promise<void> {
  const { project, id } = move;
  await collectObjects(ports, id);
  if (!objectsAreAll(move, ports.clock.now())) return;
  await decide(
    ports,
    () => ports.records.get<MoveRecord>(keys.move(project, id)),
    (stored) =>
      stored === undefined
        ? nothing(undefined)
        : { writes: [putMove({ ...stored.data, collected: true }, stored.rev)], effects: [], value: undefined },
  );
}

type Refine = (facts: MoveFacts) => MoveFacts;

/** Loads, decides, commits, performs; and commits the move itself as soon as both ends are parked. */
async function advance(
  ports: Ports,
  project: string,
  id: string,
  event: MoveEvent | ((facts: MoveFacts) => MoveEvent),
  refine: Refine = (facts) => facts,
): Promise<MoveRecord | undefined> {
  const context = {
    now: ports.clock.now(),
    ids: { source: ports.random.uuid(), target: ports.random.uuid() },
  };
  const { value, effects } = await decide(
    ports,
    () => loadMove(ports, project, id, typeof event === 'function' ? undefined : event),
    (facts) => {
      if (facts === undefined) return nothing(undefined);
      const refined = refine(facts);
      return planMove(refined, typeof event === 'function' ? event(refined) : event, context);
    },
  );
  await perform(ports, effects);
  if (value?.state !== 'PREPARED' || (typeof event !== 'function' && event.is === 'commit')) return value;
  return advance(ports, project, id, { is: 'commit' });
}

async function loadMove(
  ports: Ports,
  project: string,
  id: string,
  event: MoveEvent | undefined,
): Promise<MoveFacts | undefined> {
  const { records } = ports;
  const move = await records.get<MoveRecord>(keys.move(project, id));
  if (move === undefined) return undefined;
  const { data } = move;
  const waiting = Object.values(data.steps).flatMap(({ command }) => command ?? []);
  const commands = event !== undefined && 'command' in event ? [...new Set([...waiting, event.command])] : waiting;
  const [operation, instance, source, target, profiles, found] = await Promise.all([
    records.get<OperationRecord>(keys.operation(project, data.operation)),
    records.get<InstanceRecord>(keys.instance(project, data.instance)),
    hostById(records, data.from),
    hostById(records, data.to),
    profilesOf(records, project),
    Promise.all(commands.map((command) => commandById(ports, command))),
  ]);
  const entries = new Map(found.flatMap((one) => (one === undefined ? [] : [[one.entry.data.id, one.entry] as const])));
  return {
    move,
    operation,
    instance,
    hosts: { source: source?.data, target: target?.data },
    profiles,
    uses: data.newName === data.name ? [] : await usesOf(ports, instance?.data),
    entries,
  };
}

async function usesOf(ports: Ports, instance: InstanceRecord | undefined): Promise<Stored<ProfileUse>[]> {
  const { id = '', project = '', profiles = [] } = instance ?? {};
  const rows = await Promise.all(
    profiles.map((profile) => ports.records.get<ProfileUse>(keys.profileUse(project, profile, id))),
  );
  return rows.flatMap((row) => row ?? []);
}
