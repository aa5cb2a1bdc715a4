/** `npm run bench [-- GROUP...]`: measures what Fairlead promises and prints it as the table that docs/benchmarks.md keeps. */
import { cpus, loadavg, release, totalmem } from 'node:os';

import { messageOf } from '#shared/errors.ts';
import { Fleet } from '../lab/fleet.ts';
import { benchExec } from './exec.ts';
import { benchConnector, benchControlPlane, benchReconnects } from './footprint.ts';
import { benchLaunch, importImage } from './launch.ts';
import { benchListing } from './listing.ts';
import { benchScale } from './scale.ts';
import { benchStream } from './stream.ts';
import { table, type Row } from './table.ts';

const ON_A_LAB_HOST: Readonly<Record<string, (fleet: Fleet) => Promise<Row[]>>> = {
  launch: benchLaunch,
  exec: benchExec,
  connector: benchConnector,
};
const ALONE: Readonly<Record<string, () => Promise<Row[]>>> = {
  listing: benchListing,
  stream: benchStream,
  control: benchControlPlane,
  reconnects: benchReconnects,
  scale: benchScale,
};
/** Run when no group is named; `scale` takes minutes and is asked for by name. */
const USUAL = [...Object.keys(ON_A_LAB_HOST), 'listing', 'stream', 'control', 'reconnects'];

async function bench(groups: readonly string[]): Promise<Row[]> {
  const unknown = groups.find((group) => !(group in ON_A_LAB_HOST) && !(group in ALONE));
  if (unknown !== undefined) {
    throw new Error(`There is no group "${unknown}"; there are ${[...USUAL, 'scale'].join(', ')}.`);
  }
  const rows: Row[] = [];
  const say = (more: readonly Row[]) => {
    rows.push(...more);
    process.stderr.write(table(more).split('\n').slice(2).join('\n'));
  };
  if (groups.some((group) => group in ON_A_LAB_HOST)) {
    await using fleet = await Fleet.up({ name: 'bench', hosts: ['bench'], port: 8743 });
    await importImage(fleet);
    for (const [group, run] of Object.entries(ON_A_LAB_HOST)) if (groups.includes(group)) say(await run(fleet));
  }
  for (const [group, run] of Object.entries(ALONE)) if (groups.includes(group)) say(await run());
  return rows;
}

function machine(): string {
  const [processor] = cpus();
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${cpus().length} × ${processor?.model ?? 'unknown'}, ${memory} GiB, Linux ${release()}, Node ${process.versions.node}`;
}

function load(): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(' ');
}

try {
  const before = load();
  const named = process.argv.slice(2);
  const rows = await bench(named.length > 0 ? named : USUAL);
  process.stdout.write(`\n${machine()}; load before ${before}, after ${load()}\n\n${table(rows)}`);
} catch (error) {
  process.stderr.write(`\nError: ${error instanceof Error ? error.stack : messageOf(error)}\n`);
  process.exitCode = 1;
}
// Streams repeat their last acknowledgements for a while; nobody waits for them here.
process.exit();
