import { FairleadError } from '#shared/errors.ts';
import type { UpFrame } from '#shared/link/frames.ts';

import { SIGNED_URL_MS, type SignedPut } from '../../ports/objects.ts';
import type { Ports } from '../../ports/ports.ts';
import { hostById, online, type HostRecord } from '../hosts/host.ts';
import { keys, transferKey, transferPrefix } from '../keys.ts';
import { DEFAULT_PROJECT } from '../projects.ts';
import { beforeCommit, finished, type MoveRecord, type MoveRole } from './move.ts';
import { hostOf } from './plan.ts';

type Frame<T extends UpFrame['t']> = Extract<UpFrame, { t: T }>;

/** URLs under which the source of a move puts its objects, each once. @throws FairleadError `forbidden`, `stale`. */
export async function putsForSource(
  ports: Ports,
  host: HostRecord,
  ask: Frame<'ask-put'>,
): Promise<{ puts: SignedPut[] }> {
  await authorised(ports, host, 'source', ask);
  const puts = await Promise.all(
    ask.objects.map(({ name, length, sha256 }) =>
      ports.objects.signPut(transferKey(ask.move, ask.attempt, name), { length, sha256, once: true }),
    ),
  );
  return { puts };
}

/** URLs from which the target of a move reads its objects. @throws FairleadError `forbidden`, `stale`. */
export async function urlsForTarget(
  ports: Ports,
  host: HostRecord,
  ask: Frame<'ask-get'>,
): Promise<{ urls: string[] }> {
  await authorised(ports, host, 'target', ask);
  const urls = await Promise.all(
    ask.names.map((name) => ports.objects.signGet(transferKey(ask.move, ask.attempt, name))),
  );
  return { urls };
}

/** Tells the target what the source has just put, so that it fetches while the source goes on. May be lost: the manifest names it too. */
export async function announceChunk(ports: Ports, host: HostRecord, frame: Frame<'chunk'>): Promise<void> {
  const move = await moveOfHost(ports, host, 'source', frame.move);
  if (move === undefined || move.attempt !== frame.attempt || !beforeCommit(move)) return;
  const target = (await hostById(ports.records, move.to))?.data;
  if (target === undefined || !online(target)) return;
  await ports.links.post(target.connection ?? '', frame);
}

async function authorised(
  ports: Ports,
  host: HostRecord,
  role: MoveRole,
  ask: { readonly move: string; readonly attempt: number },
): Promise<void> {
  const move = await moveOfHost(ports, host, role, ask.move);
  if (move === undefined) throw new FairleadError('forbidden', `This host is not the ${role} of that move.`);
  if (move.attempt === ask.attempt && (beforeCommit(move) || (role === 'target' && move.state === 'COMMITTED'))) return;
  throw new FairleadError('stale', `The move is past that: it is ${move.state}, attempt ${move.attempt}.`);
}

/** Hosts name a move by its id alone; moves lie in the one project there is. */
async function moveOfHost(ports: Ports, host: HostRecord, role: MoveRole, id: string): Promise<MoveRecord | undefined> {
  const stored = await ports.records.get<MoveRecord>(keys.move(DEFAULT_PROJECT, id));
  return stored !== undefined && hostOf(stored.data, role) === host.id ? stored.data : undefined;
}

/** Whether nobody reads the objects of a move any more. */
export function objectsMayGo(move: MoveRecord): boolean {
  return move.state === 'DONE' || finished(move);
}

/** Whether no URL to put another object is good any more. */
export function objectsAreAll(move: MoveRecord, now: number): boolean {
  return move.since + SIGNED_URL_MS <= now;
}

/** Deletes every object of a move. */
export async function collectObjects(ports: Ports, move: string): Promise<void> {
  for (const key of await ports.objects.list(transferPrefix(move))) await ports.objects.delete(key);
}
