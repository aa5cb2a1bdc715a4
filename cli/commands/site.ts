import type { Command } from 'commander';

import type { Site } from '../client/fleet.ts';
import { asFormat, listing, naturally } from '../output/format.ts';
import type { Session } from '../session.ts';

/** `site list`. */
export function registerSite(program: Command, session: Session): void {
  const site = program.command('site').description('The places where hosts stand');
  site
    .command('list')
    .alias('ls')
    .description('List the sites')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const sites = (await session.api.get<Site[]>('/1.0/fleet/sites')).sort((a, b) => naturally(a.name, b.name));
      const rows = sites.map(({ name, hosts }) => [name, String(hosts)]);
      session.print(await listing(format, { headings: ['NAME', 'HOSTS'], rows, objects: sites }));
    });
}
