import type { Command } from 'commander';

import type { JoinToken, NewJoinToken } from '../client/fleet.ts';
import { url } from '../client/http.ts';
import { gather, parseDuration, parsePairs } from '../grammar.ts';
import { dateTime } from '../output/age.ts';
import { asFormat, listing } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';

interface Options {
  readonly site?: string;
  readonly label?: readonly string[];
  readonly name?: string;
  /** Seconds. */
  readonly ttl?: number;
}

/** `host token`, `host token list`, `host token revoke`. */
export function registerToken(host: Command, session: Session): void {
  const token = host
    .command('token')
    .description('Make a token with which one new host can join')
    .option('--site <site>', 'the site the host stands at')
    .option('--label <key=value>', 'a label the host gets; may be repeated', gather)
    .option('--name <name>', 'the only name a host may join under (default: any)')
    .option('--ttl <duration>', 'how long it can be used: 90, 15m, 12h (default 15m, at most 24h)', parseDuration)
    .action(async ({ site, label, name, ttl }: Options) => {
      const body = { site, name, ttl, ...(label && { labels: parsePairs(label) }) };
      const made = await session.api.send<NewJoinToken>('POST', '/1.0/fleet/join-tokens', { body });
      // The token alone on the standard output, so that a script can take it.
      session.note(
        `On the new host, as root, until ${dateTime(made.expires_at)}:\n  fairlead-connector join <token>\nThe token works once:`,
      );
      session.print(`${made.token}\n`);
    });
  token
    .command('list')
    .alias('ls')
    .description('List the tokens that are still open')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const tokens = await session.api.get<JoinToken[]>('/1.0/fleet/join-tokens');
      const rows = tokens.map(({ id, name, site, expires_at }) => [id, name ?? '', site ?? '', dateTime(expires_at)]);
      session.print(await listing(format, { headings: ['ID', 'NAME', 'SITE', 'EXPIRES AT'], rows, objects: tokens }));
    });
  token
    .command('revoke')
    .alias('delete')
    .description('Make a token useless')
    .argument('<id>')
    .action(async (id: string) => {
      await session.api.send('DELETE', url`/1.0/fleet/join-tokens/${id}`);
      session.print(`Token ${printable(id)} revoked\n`);
    });
}
