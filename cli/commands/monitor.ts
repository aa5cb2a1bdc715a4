import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { Event } from '#shared/lxd/event.ts';
import { gather } from '../grammar.ts';
import { json, yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';

const TYPES = ['operation', 'lifecycle', 'logging'];

interface Options {
  readonly type?: readonly string[];
  readonly format: string;
  readonly pretty?: boolean;
}

/** `monitor`: every event as it happens, until Ctrl-C. */
export function registerMonitor(program: Command, session: Session): void {
  program
    .command('monitor')
    .description('Show what happens in the fleet, as it happens')
    .option('--type <type>', `only ${TYPES.join(', ')}; may be repeated`, gather)
    .option('-f, --format <format>', 'yaml or json', 'yaml')
    .option('--pretty', 'one readable line an event')
    .action(async ({ type = [], format, pretty }: Options) => {
      const unknown = type.find((one) => !TYPES.includes(one));
      if (unknown !== undefined)
        throw new FairleadError('bad_request', `There are no events "${unknown}": choose of ${TYPES.join(', ')}.`);
      if (format !== 'yaml' && format !== 'json')
        throw new FairleadError('bad_request', `Unknown format "${format}": choose yaml or json.`);
      const { events } = await import('../client/events.ts');
      const onCut = () =>
        session.note('The event stream was cut; connecting again. What happened meanwhile is not shown.');
      for await (const event of events(session.api, type, { sleep: (ms) => session.io.sleep(ms), onCut })) {
        if (type.length > 0 && !type.includes(event.type)) continue;
        if (pretty) session.print(`${eventLine(event)}\n`);
        else session.print(format === 'json' ? `${json(event)}\n` : `${await yaml(event, 'sorted')}\n\n`);
      }
    });
}

/** An event as one line for people. */
export function eventLine(event: Event): string {
  const at = `${event.timestamp.slice(0, 19)}Z`;
  const where = event.location === '' || event.location === 'none' ? '' : ` [${event.location}]`;
  return printable(`${at}${where} ${said(event)}`);
}

function said(event: Event): string {
  switch (event.type) {
    case 'operation': {
      const { id, description, status, err } = event.metadata;
      return `operation ${id}: ${description}: ${status}${err === '' ? '' : `: ${err}`}`;
    }
    case 'lifecycle': {
      const { action, source, requestor } = event.metadata;
      return `${action} ${source}${requestor ? ` by ${requestor.username}` : ''}`;
    }
    case 'logging':
      return `${event.metadata.level}: ${event.metadata.message}`;
  }
}
