import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { FleetInstance } from '../client/fleet.ts';
import { edit } from '../edit.ts';
import { parseInstance, parseSettings, type Target } from '../grammar.ts';
import { yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';
import { instancePath, targetQuery } from './instances.ts';

/** What a PUT of an instance carries; unknown keys travel along. */
type Writable = Pick<
  FleetInstance,
  'architecture' | 'config' | 'devices' | 'ephemeral' | 'profiles' | 'stateful' | 'description'
>;

/** `config get|set|unset|show|edit` of instances. */
export function registerConfig(program: Command, session: Session): void {
  const config = program.command('config').description("Instances' configuration");
  config
    .command('show')
    .description('Show the configuration')
    .argument('<name>', 'NAME or HOST:NAME')
    .option('-e, --expanded', 'with what the profiles bring')
    .action(async (name: string, { expanded }: { expanded?: boolean }) => {
      const instance = await session.api.get<FleetInstance>(...address(parseInstance(name)));
      const shown = writable(instance);
      const expansion = { config: instance.expanded_config, devices: instance.expanded_devices };
      session.print(
        await yaml({
          ...shown,
          ...(expanded && expansion),
          config: sorted(expanded ? expansion.config : shown.config),
        }),
      );
    });
  config
    .command('get')
    .description('Show the value of one key')
    .argument('<name>', 'NAME or HOST:NAME')
    .argument('<key>')
    .option('-e, --expanded', 'also when a profile brings it')
    .action(async (name: string, key: string, { expanded }: { expanded?: boolean }) => {
      const instance = await session.api.get<FleetInstance>(...address(parseInstance(name)));
      const value = (expanded ? instance.expanded_config : instance.config)[key] ?? '';
      session.print(`${session.io.stdout.isTTY ? printable(value, 'keep lines') : value}\n`);
    });
  config
    .command('set')
    .description('Set keys: key=value..., or key value')
    .argument('<name>', 'NAME or HOST:NAME')
    .argument('<settings...>')
    .action(async (name: string, words: string[]) => {
      const settings = parseSettings(words);
      await update(session, parseInstance(name), (before) => ({
        ...before,
        config: { ...before.config, ...settings },
      }));
    });
  config
    .command('unset')
    .description('Remove keys')
    .argument('<name>', 'NAME or HOST:NAME')
    .argument('<keys...>')
    .action(async (name: string, keys: string[]) => {
      await update(session, parseInstance(name), (before) => {
        const missing = keys.find((key) => before.config[key] === undefined);
        if (missing !== undefined) throw new FairleadError('not_found', `"${missing}" is not set on ${name}.`);
        return {
          ...before,
          config: Object.fromEntries(Object.entries(before.config).filter(([key]) => !keys.includes(key))),
        };
      });
    });
  config
    .command('edit')
    .description('Change the configuration in an editor, or from the standard input')
    .argument('<name>', 'NAME or HOST:NAME')
    .action(async (name: string) => {
      const target = parseInstance(name);
      const [path, query] = address(target);
      const { metadata, etag } = await session.api.call<FleetInstance>('GET', path, { query });
      await edit(session.io, await yaml(writable(metadata)), async (body) => {
        await session.finish(await session.api.start('PUT', path, { query, etag, body }));
      });
    });
}

async function update(session: Session, target: Target, change: (before: Writable) => Writable): Promise<void> {
  const [path, query] = address(target);
  const { metadata, etag } = await session.api.call<FleetInstance>('GET', path, { query });
  await session.finish(await session.api.start('PUT', path, { query, etag, body: change(writable(metadata)) }));
}

function address(target: Target) {
  return [instancePath(target), targetQuery(target)] as const;
}

function writable({
  architecture,
  config,
  devices,
  ephemeral,
  profiles,
  stateful,
  description,
}: FleetInstance): Writable {
  return { architecture, config: sorted(config), devices, ephemeral, profiles, stateful, description };
}

function sorted(config: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}
