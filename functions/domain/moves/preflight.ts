import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { CommandResult } from '#shared/link/commands.ts';
import type { Blocker } from '#shared/link/moves.ts';

import type { Ports } from '../../ports/ports.ts';
import { askHost } from '../hosts/ask.ts';
import { offlineSince, online, type HostRecord } from '../hosts/host.ts';
import { specOf, type InstanceRecord } from '../instances/instance.ts';
import type { ProfileRecord } from '../profiles/profile.ts';

/** A host looks into its kernel, CRIU and disk for an answer. */
const CHECK_MS = 12_000;

/** How an instance travels: with its memory, or stopped. */
export type Rung = 'live' | 'cold';

export interface Plan {
  readonly instance: InstanceRecord;
  readonly source: HostRecord;
  readonly target: HostRecord;
  readonly newName: string;
  /** An instance of that name is on the target, or on its way there. */
  readonly taken: boolean;
  /** What the user allows, best first; undefined: live if it runs, cold if it does not. */
  readonly allow: readonly Rung[] | undefined;
}

/** What a preflight finds. `rung` is absent when the move cannot be. Sizes in bytes. */
export interface Preflight {
  readonly rung?: Rung;
  readonly running: boolean;
  readonly disk: number;
  readonly memory: number;
  readonly blockers: readonly Blocker[];
}

/**
 * Asks everything that could stand against a move, and changes nothing: first what the registry knows, then the source, then, with what the
 * source measured, the target.
 */
export async function preflight(
  ports: Ports,
  plan: Plan,
  profiles: ReadonlyMap<string, ProfileRecord>,
): Promise<Preflight> {
  const known = knownBlockers(plan);
  const nothing = { running: plan.instance.status !== 'Stopped', disk: 0, memory: 0 };
  if (known.length > 0) return { ...nothing, blockers: known };
  const live = plan.allow?.includes('live') ?? true;
  const source = await asked(ports, plan.source, { kind: 'check-source', id: plan.instance.id, live }, 'source-check');
  if ('blocker' in source) return { ...nothing, blockers: [source.blocker] };
  const { running, disk, memory, criu, idmap } = source.answer;
  const instance = specOf({ ...plan.instance, name: plan.newName, epoch: plan.instance.epoch + 1 }, profiles);
  const facts = { disk, memory, live: live && running, idmap, ...(criu && { criu }) };
  const target = await asked(ports, plan.target, { kind: 'check-target', instance, ...facts }, 'target-check');
  if ('blocker' in target) return { running, disk, memory, blockers: [target.blocker] };
  const blockers = [...source.answer.blockers, ...target.answer.blockers];
  const rung = chooseRung(plan.allow ?? (running ? ['live'] : ['cold']), running, blockers);
  return { ...(rung && { rung }), running, disk, memory, blockers };
}

/** Pure: the best rung that the user allows and nothing stands against. */
export function chooseRung(allow: readonly Rung[], running: boolean, blockers: readonly Blocker[]): Rung | undefined {
  if (blockers.some(({ stops }) => stops === 'move')) return undefined;
  const possible =
    running && !blockers.some(({ stops }) => stops === 'live') ? (['live', 'cold'] as const) : (['cold'] as const);
  return possible.find((rung) => allow.includes(rung));
}

/** Pure: what stands against the move by what the registry knows; every reason, not the first. */
export function knownBlockers({ instance, source, target, newName, taken }: Plan): Blocker[] {
  const found: Blocker[] = [];
  const stop = (what: string, why: string, cure: string) => found.push({ what, why, cure, stops: 'move' });
  if (source.id === target.id) {
    stop('host', `"${instance.name}" is on host ${target.name} already.`, 'Name another host.');
  }
  for (const host of source.id === target.id ? [source] : [source, target]) {
    if (online(host)) continue;
    const cure = host.status === 'active' ? 'Try again when it is back.' : 'Choose another host.';
    stop('offline', `Host ${host.name} is ${offlineSince(host)}.`, cure);
  }
  if (taken && source.id !== target.id) {
    stop(
      'name',
      `Host ${target.name} has an instance "${newName}", or one is on its way there.`,
      `Give another name: ${target.name}:NAME.`,
    );
  }
  const here = target.facts?.architecture;
  if (here !== undefined && here !== instance.architecture) {
    stop(
      'architecture',
      `"${instance.name}" is ${instance.architecture}, host ${target.name} is ${here}.`,
      'Choose a host of its architecture.',
    );
  }
  if (instance.task !== undefined) {
    const { action, operation } = instance.task;
    stop(
      'busy',
      `A ${action} of "${instance.name}" is under way (operation ${operation}).`,
      'Wait for it, or cancel it.',
    );
  }
  return found;
}

type Asked<K extends CommandResult['kind']> =
  | { readonly answer: Extract<CommandResult, { kind: K }> }
  | { readonly blocker: Blocker };

/** A host that refuses to answer, or cannot, stands against the move with its own words. */
async function asked<K extends CommandResult['kind']>(
  ports: Ports,
  host: HostRecord,
  command: Parameters<typeof askHost>[2],
  kind: K,
): Promise<Asked<K>> {
  try {
    const answer = await askHost(ports, host, command, CHECK_MS);
    if (answer.kind === kind) return { answer: answer as Extract<CommandResult, { kind: K }> };
    throw new FairleadError('protocol', `Host ${host.name} does not know moves.`);
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    const cure = error.code === 'protocol' ? 'Update its connector.' : 'Put that right, then try again.';
    return { blocker: { what: 'host', why: `${host.name}: ${error.message}`.slice(0, 500), cure, stops: 'move' } };
  }
}

/** The refusal of a move, with every reason and its cure. */
export function refusal(
  name: string,
  target: string,
  { blockers, running }: Preflight,
  allow: readonly Rung[] | undefined,
): FairleadError {
  const against = blockers.filter(({ stops }) => stops === 'move');
  const reasons = (against.length > 0 ? against : blockers).map(({ why, cure }) => `${why} ${cure}`);
  const onlyLive = against.length === 0 && running && allow?.includes('cold') !== true;
  const way = onlyLive ? [`Without its memory it can be moved: it is stopped, moved and started there (--cold).`] : [];
  const none = reasons.length === 0 ? ['It does not run, so there is no memory to move.'] : [];
  const code = against.some(({ what }) => what === 'busy') ? 'busy' : 'wrong_state';
  return new FairleadError(
    code,
    [`Cannot move "${name}" to host ${target}${onlyLive ? ' live' : ''}:`, ...reasons, ...none, ...way].join(' '),
  );
}
