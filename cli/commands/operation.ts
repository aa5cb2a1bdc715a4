import type { Command } from 'commander';

import type { Operation } from '#shared/lxd/operation.ts';
import { url } from '../client/http.ts';
import { dateTime } from '../output/age.ts';
import { asFormat, listing, yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';

/** `operation list|show|cancel`. */
export function registerOperation(program: Command, session: Session): void {
  const operation = program.command('operation').description('What goes on in the background');
  operation
    .command('list')
    .alias('ls')
    .description('List the operations')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const all = await allOperations(session);
      session.print(await listing(format, { headings: HEADINGS, rows: all.map(row), objects: all }));
    });
  operation
    .command('show')
    .description('Show everything about an operation')
    .argument('<id>')
    .action(async (id: string) => {
      session.print(await yaml(await session.api.get<Operation>(url`/1.0/operations/${id}`)));
    });
  operation
    .command('cancel')
    .aliases(['delete', 'rm'])
    .description('Cancel an operation that can be cancelled')
    .argument('<id>')
    .action(async (id: string) => {
      await session.api.send('DELETE', url`/1.0/operations/${id}`);
      session.print(`Operation ${printable(id)} cancelled\n`);
    });
}

/** Every operation that is still kept, oldest first. */
export async function allOperations(session: Session): Promise<Operation[]> {
  const groups = await session.api.get<Record<string, Operation[]>>('/1.0/operations', { recursion: 1 });
  return Object.values(groups)
    .flat()
    .sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at));
}

const HEADINGS = ['ID', 'TYPE', 'DESCRIPTION', 'STATUS', 'CANCELABLE', 'CREATED', 'LOCATION'] as const;

function row(operation: Operation): string[] {
  return [
    operation.id,
    operation.class.toUpperCase(),
    operation.description,
    operation.status.toUpperCase(),
    operation.may_cancel ? 'YES' : 'NO',
    dateTime(operation.created_at),
    operation.location,
  ];
}
