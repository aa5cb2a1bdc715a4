import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { Move, MovePreflight } from '../client/fleet.ts';
import { parseInstance, parseTarget, type Target } from '../grammar.ts';
import { dateTime } from '../output/age.ts';
import { asFormat, bytesIec, listing } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';

interface Options {
  readonly check?: boolean;
  readonly cold?: boolean;
  readonly keep: boolean;
  readonly wait: boolean;
}

/** `move` and `move list`. */
export function registerMove(program: Command, session: Session): void {
  const move = program
    .command('move')
    .alias('mv')
    .description('Move an instance to another host; with its memory if it runs')
    .argument('<instance>', 'NAME or HOST:NAME')
    .argument('<target>', 'HOST:, or HOST:NAME to give it another name')
    .option('--check', 'say whether and how it could be moved, and do nothing')
    .option('--cold', 'without its memory: what runs is stopped, moved and started there')
    .option('--no-keep', "delete the source's copy at once instead of after a day")
    .option('--no-wait', 'do not wait until it is done')
    .action(async (instance: string, target: string, options: Options) => {
      await moveOne(session, parseInstance(instance), parseHost(target), options);
    });
  move
    .command('list')
    .alias('ls')
    .description('List the moves of the last week')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const moves = await session.api.get<Move[]>('/1.0/fleet/moves');
      session.print(await listing(format, { headings: HEADINGS, rows: moves.map(row), objects: moves }));
    });
}

/** A target without a colon could be meant as a name: it is asked for. */
function parseHost(text: string): Target & { readonly host: string } {
  const { host, name } = parseTarget(text);
  if (host !== undefined) return { host, name };
  throw new FairleadError('bad_name', `"${text}" names no host: write "${text}:" for the host of that name.`);
}

async function moveOne(
  session: Session,
  from: Target,
  to: Target & { readonly host: string },
  options: Options,
): Promise<void> {
  const body = {
    instance: from.name,
    ...(from.host !== undefined && { from: from.host }),
    to: to.host,
    ...(to.name !== '' && { name: to.name }),
    ...(options.cold === true && { live: false }),
    keep: options.keep,
  };
  if (options.check === true) {
    const found = await session.api.send<MovePreflight>('POST', '/1.0/fleet/moves', {
      body: { ...body, check: true },
    });
    session.print(verdict(from.name, to.host, found));
    if (found.rung === undefined) session.exitCode = 1;
    return;
  }
  const operation = await session.api.start('POST', '/1.0/fleet/moves', { body });
  if (!options.wait) {
    session.leave(operation);
    return;
  }
  const { metadata } = await session.finish(operation);
  const stood = metadata?.['downtime_ms'];
  const bytes = metadata?.['bytes'];
  const details = [
    ...(typeof bytes === 'number' ? [`${bytesIec(bytes)} sent`] : []),
    ...(typeof stood === 'number' ? [`it stood still for ${(stood / 1000).toFixed(1)} s`] : []),
  ].join(', ');
  const name = to.name === '' ? from.name : to.name;
  session.print(`${printable(name)} is on ${printable(to.host)}${details === '' ? '' : ` (${details})`}\n`);
}

/** Whether and how it could be moved: the way, then every reason with its cure. */
function verdict(name: string, host: string, { rung, running, disk, memory, blockers }: MovePreflight): string {
  const way = {
    live: `can be moved to ${host} live: about ${bytesIec(disk + memory)} to send, most of it while it goes on`,
    cold: `can be moved to ${host}${running ? ' cold: stopped, moved, and started there' : ''}: about ${bytesIec(disk)} to send`,
    none: `cannot be moved to ${host}${blockers.some(({ stops }) => stops === 'move') ? '' : ' live; --cold may be a way'}`,
  }[rung ?? 'none'];
  const reasons = blockers.map(
    ({ stops, why, cure }) => `  ${stops === 'live' ? 'not live' : 'not at all'}: ${why} ${cure}\n`,
  );
  return printable(`${name} ${way}\n${reasons.join('')}`, 'keep lines');
}

const HEADINGS = [
  'ID',
  'INSTANCE',
  'FROM',
  'TO',
  'WAY',
  'STATE',
  'SENT',
  'STOOD STILL',
  'STARTED',
  'SOURCE KEEPS UNTIL',
] as const;

function row(move: Move): string[] {
  const { id, instance, name, source, target, live, state, bytes, downtime_ms: stood, created_at, kept_until } = move;
  return [
    id,
    name === instance ? instance : `${instance} as ${name}`,
    source,
    target,
    live ? 'live' : 'cold',
    state,
    bytesIec(bytes),
    stood === null ? '' : `${(stood / 1000).toFixed(1)} s`,
    dateTime(created_at),
    dateTime(kept_until ?? undefined),
  ];
}
