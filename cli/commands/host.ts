import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { Host } from '../client/fleet.ts';
import { url } from '../client/http.ts';
import { gather, parsePairs } from '../grammar.ts';
import { age } from '../output/age.ts';
import { asFormat, bytesIec, listing, naturally, yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';
import { registerToken } from './token.ts';

interface Changes {
  readonly site?: string;
  readonly label?: readonly string[];
  readonly unlabel?: readonly string[];
  readonly name?: string;
}

/** `host token|list|show|set|remove`. */
export function registerHost(program: Command, session: Session): void {
  const host = program.command('host').description('The machines of the fleet');
  registerToken(host, session);
  host
    .command('list')
    .alias('ls')
    .description('List the hosts')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const hosts = (await session.api.get<Host[]>('/1.0/fleet/hosts')).sort((a, b) => naturally(a.name, b.name));
      const now = session.io.now();
      session.print(
        await listing(format, { headings: HEADINGS, rows: hosts.map((one) => row(one, now)), objects: hosts }),
      );
    });
  host
    .command('show')
    .description('Show everything that is known of a host')
    .argument('<host>')
    .action(async (name: string) => {
      session.print(await yaml(await getHost(session, name)));
    });
  host
    .command('set')
    .description("Change a host's site, labels or name")
    .argument('<host>')
    .option('--site <site>', 'the site it stands at')
    .option('--label <key=value>', 'set a label; may be repeated', gather)
    .option('--unlabel <key>', 'remove a label; may be repeated', gather)
    .option('--name <name>', 'rename it')
    .action(async (name: string, changes: Changes) => {
      await set(session, withoutColon(name), changes);
    });
  host
    .command('remove')
    .alias('rm')
    .description('Revoke a host and forget it; its connector is refused from then on')
    .argument('<host>')
    .option('-f, --force', 'also when it holds instances: they are forgotten, and stay as they are on the host')
    .action(async (name: string, { force }: { force?: boolean }) => {
      await session.api.send('DELETE', url`/1.0/fleet/hosts/${withoutColon(name)}`, {
        query: { force: force ? 1 : undefined },
      });
      session.print(`Host ${printable(withoutColon(name))} removed\n`);
    });
}

const HEADINGS = [
  'NAME',
  'SITE',
  'STATUS',
  'SINCE',
  'ARCHITECTURE',
  'CPUS',
  'MEMORY',
  'DISK FREE',
  'CRIU',
  'LABELS',
] as const;

function row({ name, site, status, since, facts, labels }: Host, now: number): string[] {
  return [
    name,
    site,
    status.toUpperCase(),
    `${age(since, now)} ago`,
    facts?.architecture ?? '',
    facts ? String(facts.cpus) : '',
    facts ? bytesIec(facts.memory) : '',
    facts ? bytesIec(facts.disk.free) : '',
    facts?.criu ? `${facts.criu.version}${facts.criu.ok ? '' : ' (fails)'}` : '',
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join('\n'),
  ];
}

async function getHost(session: Session, name: string): Promise<Host> {
  return await session.api.get<Host>(url`/1.0/fleet/hosts/${withoutColon(name)}`);
}

async function set(
  session: Session,
  name: string,
  { site, label, unlabel = [], name: newName }: Changes,
): Promise<void> {
  if (site === undefined && label === undefined && unlabel.length === 0 && newName === undefined) {
    throw new FairleadError('bad_request', 'Nothing to change: give --site, --label, --unlabel or --name.');
  }
  const relabelled = label !== undefined || unlabel.length > 0;
  const before = relabelled ? (await getHost(session, name)).labels : {};
  const after = Object.entries({ ...before, ...parsePairs(label ?? []) }).filter(([key]) => !unlabel.includes(key));
  await session.api.send('PATCH', url`/1.0/fleet/hosts/${name}`, {
    body: {
      ...(site !== undefined && { site }),
      ...(relabelled && { labels: Object.fromEntries(after) }),
      ...(newName !== undefined && { name: newName }),
    },
  });
}

/** A host is meant with and without the colon that makes it a remote. */
function withoutColon(name: string): string {
  return name.endsWith(':') ? name.slice(0, -1) : name;
}
