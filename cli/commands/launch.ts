import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import { instanceOf } from '../client/operations.ts';
import { gather, parsePairs, parseTarget } from '../grammar.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';
import { resolveImage } from './images.ts';
import { targetQuery } from './instances.ts';

interface Options {
  readonly config?: readonly string[];
  /** An empty list is `--no-profiles`. */
  readonly profile?: readonly string[];
  readonly profiles: boolean;
  readonly ephemeral?: boolean;
  readonly empty?: boolean;
  readonly target?: string;
  readonly wait: boolean;
}

/** `launch` and `init`. */
export function registerLaunch(program: Command, session: Session): void {
  creating(program.command('launch').description('Create an instance from an image and start it'))
    .argument('<image>', 'alias or fingerprint')
    .argument('[name]', 'NAME, HOST:NAME or HOST: (default: a name and a host are chosen)')
    .action(async (image: string, name: string | undefined, options: Options) => {
      await create(session, { image, name, start: true, options });
    });
  creating(program.command('init').alias('create').description('Create an instance and leave it stopped'))
    .argument('<image>', 'alias or fingerprint; with --empty the name')
    .argument('[name]', 'NAME, HOST:NAME or HOST:')
    .option('--empty', 'make an empty instance, without an image')
    .action(async (image: string, name: string | undefined, options: Options) => {
      await create(
        session,
        options.empty
          ? { image: undefined, name: image, start: false, options }
          : { image, name, start: false, options },
      );
    });
}

function creating(command: Command): Command {
  return command
    .option('-c, --config <key=value>', 'configuration; may be repeated', gather)
    .option('-p, --profile <name>', 'profile instead of "default"; may be repeated', gather)
    .option('--no-profiles', 'apply no profile')
    .option('-e, --ephemeral', 'delete the instance when it stops')
    .option('--target <host>', 'host to create it on')
    .option('--no-wait', 'do not wait until it is done');
}

async function create(
  session: Session,
  {
    image,
    name,
    start,
    options,
  }: { image: string | undefined; name: string | undefined; start: boolean; options: Options },
): Promise<void> {
  const named = parseTarget(name ?? '');
  if (named.host !== undefined && options.target !== undefined && named.host !== options.target) {
    throw new FairleadError('bad_request', `"${name}" and --target ${options.target} name two hosts: leave one out.`);
  }
  const { api } = session;
  session.print(named.name === '' ? 'Creating the instance\n' : `Creating ${named.name}\n`);
  const source =
    image === undefined ? { type: 'none' } : { type: 'image', fingerprint: await resolveImage(api, image) };
  const operation = await api.start('POST', '/1.0/instances', {
    query: targetQuery({ host: named.host ?? options.target }),
    body: {
      name: named.name,
      source,
      type: 'container',
      config: parsePairs(options.config ?? []),
      devices: {},
      // null asks for the default profile, [] for none (trap T24 of the client contract).
      profiles: options.profiles ? (options.profile ?? null) : [],
      ephemeral: options.ephemeral ?? false,
      start,
    },
  });
  if (!options.wait) {
    session.leave(operation);
    return;
  }
  const created = instanceOf(await session.finish(operation)) ?? instanceOf(operation) ?? named.name;
  if (named.name === '') session.print(`Instance name is: ${printable(created)}\n`);
  // lxc's second line; here the start is a part of the one operation, and done.
  if (start) session.print(`Starting ${printable(created)}\n`);
}
