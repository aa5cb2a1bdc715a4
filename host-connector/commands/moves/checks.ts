import { assertAllowed } from '#shared/config/restrictions.ts';
import { isOn } from '#shared/config/keys.ts';
import { isFairleadError } from '#shared/errors.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import type { Blocker, CriuFacts } from '#shared/link/moves.ts';
import type { CommandOf, Done } from '../executor.ts';
import type { Host } from '../host.ts';
import type { MoveParts } from './parts.ts';

/** What stays free on a target, as a share of what comes. */
const DISK_MARGIN = 1.1;

/** See `check-source` in shared/link/moves.ts. */
export async function checkSource(
  { id, live }: CommandOf<'check-source'>,
  parts: MoveParts,
  host: Host,
): Promise<Done> {
  const { spec } = host.roles.require(id);
  const seq = host.observer.next();
  const { status, disk, memory } = await host.containers.measure(spec);
  const criu = live ? await parts.criu() : undefined;
  const running = status !== 'Stopped';
  const size = Object.values(disk).reduce((sum, { usage }) => sum + usage, 0);
  const blockers = sourceBlockers(spec, running, live, criu);
  const idmap = parts.idmapOf(spec);
  const known = { running, disk: size, memory: memory.usage, blockers, idmap };
  return { seq, result: { kind: 'source-check', ...known, ...(criu && { criu }) } };
}

/** See `check-target` in shared/link/moves.ts. */
export async function checkTarget(command: CommandOf<'check-target'>, parts: MoveParts, host: Host): Promise<Done> {
  const { instance: spec, live } = command;
  const seq = host.observer.next();
  const blockers: Blocker[] = [];
  try {
    assertAllowed(spec, (await host.policy()).ceiling, 'host');
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    blockers.push(blocker('move', 'policy', error.message, "Change the instance, or the target's policy file."));
  }
  const present = host.roles.find(spec.id);
  if (present?.role === 'owner' || present?.role === 'leaving') {
    blockers.push(blocker('move', 'presence', 'The target holds the instance already.', 'Name another target.'));
  }
  const needed = command.disk * DISK_MARGIN + (live ? command.memory : 0);
  const free = await parts.freeDisk();
  if (free < needed) {
    const why = `The target has ${megabytes(free)} free, the instance needs ${megabytes(needed)}.`;
    blockers.push(blocker('move', 'disk', why, 'Free space on the target.'));
  }
  if (live) blockers.push(...targetBlockers(command, parts.idmapOf(spec), await parts.criu()));
  return { seq, result: { kind: 'target-check', blockers } };
}

/** What stands against taking an instance away with its memory. Pure. */
export function sourceBlockers(
  spec: InstanceSpec,
  running: boolean,
  live: boolean,
  criu: CriuFacts | undefined,
): Blocker[] {
  if (!live) return [];
  const stops = (what: string, why: string, cure: string): Blocker => blocker('live', what, why, cure);
  const devices = Object.entries(spec.devices).filter(
    ([, device]) =>
      device['type'] !== 'nic' && device['type'] !== 'none' && !(device['type'] === 'disk' && device['path'] === '/'),
  );
  return [
    ...(running ? [] : [stops('state', `"${spec.name}" does not run.`, 'Start it, or move it as it is.')]),
    ...(isOn(spec.config, 'migration.stateful')
      ? []
      : [
          stops(
            'migration.stateful',
            `"${spec.name}" was not started to be moved with its memory.`,
            'Set migration.stateful=true and restart it.',
          ),
        ]),
    ...['security.privileged', 'security.nesting', 'security.idmap.isolated']
      .filter((key) => isOn(spec.config, key))
      .map((key) =>
        stops(
          key,
          `The memory of an instance with ${key} cannot be moved yet.`,
          `Move it without its memory, or unset ${key}.`,
        ),
      ),
    ...devices.map(([name]) =>
      stops(
        'device',
        `Its device "${name}" belongs to this host.`,
        `Remove it, or move the instance without its memory.`,
      ),
    ),
    ...(criu
      ? []
      : [stops('criu', 'CRIU is missing on the source or does not work there.', 'Install CRIU 4.2 or newer.')]),
  ];
}

/** What stands against memory that was saved there being brought back here. Pure. */
export function targetBlockers(
  { criu: theirs, idmap }: Pick<CommandOf<'check-target'>, 'criu' | 'idmap'>,
  ownIdmap: { readonly base: number; readonly size: number },
  ours: CriuFacts | undefined,
): Blocker[] {
  if (!ours)
    return [
      blocker('live', 'criu', 'CRIU is missing on the target or does not work there.', 'Install CRIU 4.2 or newer.'),
    ];
  const found: Blocker[] = [];
  const stops = (what: string, why: string, cure: string): void => void found.push(blocker('live', what, why, cure));
  if (idmap && (idmap.base !== ownIdmap.base || idmap.size !== ownIdmap.size)) {
    stops(
      'idmap',
      `The hosts map other ids: ${idmap.base}+${idmap.size} there, ${ownIdmap.base}+${ownIdmap.size} on the target.`,
      'Give both the same idmap_ranges in their policies.',
    );
  }
  if (!theirs) return found;
  if (theirs.architecture !== ours.architecture) {
    stops(
      'architecture',
      `The source is ${theirs.architecture}, the target ${ours.architecture}.`,
      'Choose another target.',
    );
  }
  if (before(ours.version, theirs.version)) {
    stops('criu', `CRIU ${theirs.version} saved it, the target has ${ours.version}.`, 'Update CRIU on the target.');
  }
  if (before(ours.kernel, theirs.kernel)) {
    stops('kernel', `The source runs Linux ${theirs.kernel}, the target ${ours.kernel}.`, 'Update the target.');
  }
  const has = new Set(ours.cpu);
  const missing = theirs.cpu.filter((flag) => !has.has(flag));
  if (missing.length > 0) {
    const names = `${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}`;
    stops('processor', `The target's processor lacks ${names}.`, 'Choose a target with the same or a newer processor.');
  }
  return found;
}

/** True when a version is older than another, by its leading numbers. */
function before(a: string, b: string): boolean {
  const numbers = (version: string): number[] =>
    (/^\D*([\d.]+)/.exec(version)?.[1] ?? '').split('.').slice(0, 2).map(Number);
  const [x, y] = [numbers(a), numbers(b)];
  const at = y.findIndex((number, index) => number !== x[index]);
  return at !== -1 && (x[at] ?? 0) < (y[at] ?? 0);
}

function blocker(stops: Blocker['stops'], what: string, why: string, cure: string): Blocker {
  return { what, why: why.slice(0, 500), cure, stops };
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)}MB`;
}
