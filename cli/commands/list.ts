import type { Command } from 'commander';

import type { FleetInstance } from '../client/fleet.ts';
import { parseTarget } from '../grammar.ts';
import { asFormat, listing, naturally } from '../output/format.ts';
import type { Session } from '../session.ts';
import { targetQuery } from './instances.ts';
import { parseColumns, SEEN, type Column } from './list-columns.ts';
import { matches } from './list-filter.ts';

const DEFAULT_COLUMNS = 'ns46tS';
const FLEET_COLUMNS = 'ns46tSL';
const FAST_COLUMNS = 'nsacPt';

interface Options {
  readonly columns?: string;
  readonly format: string;
  readonly fast?: boolean;
}

/** `list [host:] [filter...]`. */
export function registerList(program: Command, session: Session): void {
  program
    .command('list')
    .alias('ls')
    .description('List the instances of the fleet, or of one host')
    .argument('[filter...]', 'HOST:, beginnings or patterns of names, key=value')
    .option(
      '-c, --columns <letters>',
      'n name, s state, 4 6 addresses, t type, S snapshots, L host, o seen, a b c d D e f F l m M N p P u, or a configuration key',
    )
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .option('--fast', `the columns ${FAST_COLUMNS}`)
    .action(async (words: string[], options: Options) => {
      const format = asFormat(options.format);
      const { host, filters } = split(words);
      const letters =
        options.columns ?? (options.fast ? FAST_COLUMNS : host === undefined ? FLEET_COLUMNS : DEFAULT_COLUMNS);
      const asked = parseColumns(letters);
      const found = await session.api.get<FleetInstance[]>('/1.0/instances', {
        ...targetQuery({ host }),
        recursion: 2,
      });
      const shown = found.filter((instance) => matches(instance, filters)).sort(byName);
      // Only a table may get a column nobody asked for.
      const stale =
        format === 'table' && !asked.includes(SEEN) && shown.some((instance) => instance.fleet?.online === false);
      const columns: readonly Column[] = stale ? [...asked, SEEN] : asked;
      const now = session.io.now();
      session.print(
        await listing(format, {
          headings: columns.map((column) => column.heading),
          rows: shown.map((instance) => columns.map((column) => column.cell(instance, now))),
          objects: shown,
        }),
      );
    });
}

/** The host to ask, and the filters: the first word may be `host:` or `host:filter`, and a filter's value may hold a colon. */
function split(words: readonly string[]): { host: string | undefined; filters: readonly string[] } {
  const [first, ...rest] = words;
  if (first === undefined || !/^[^=]*:/.test(first)) return { host: undefined, filters: words };
  const { host, name } = parseTarget(first);
  return { host, filters: name === '' ? rest : [name, ...rest] };
}

function byName(a: FleetInstance, b: FleetInstance): number {
  return naturally(a.name, b.name) || naturally(a.location, b.location);
}
