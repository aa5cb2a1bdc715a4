import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { Profile, ProfilePut } from '#shared/lxd/profile.ts';
import { url } from '../client/http.ts';
import { edit } from '../edit.ts';
import { parsePairs, parseSettings } from '../grammar.ts';
import { asFormat, listing, naturally, yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';

/** `profile list|show|create|get|set|unset|edit|rename|delete`. */
export function registerProfile(program: Command, session: Session): void {
  const profile = program.command('profile').description('Configuration and devices that instances share');
  const verb = (name: string, description: string) =>
    profile.command(name).description(description).argument('<profile>');

  profile
    .command('list')
    .alias('ls')
    .description('List the profiles')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (options: { format: string }) => {
      const format = asFormat(options.format);
      const all = await session.api.get<Profile[]>('/1.0/profiles', { recursion: 1 });
      all.sort((a, b) => naturally(a.name, b.name));
      const rows = all.map(({ name, description, used_by }) => [name, description, String(used_by.length)]);
      session.print(await listing(format, { headings: ['NAME', 'DESCRIPTION', 'USED BY'], rows, objects: all }));
    });
  verb('show', 'Show a profile').action(async (name: string) => {
    const { config, description, devices, used_by } = await session.api.get<Profile>(path(name));
    session.print(await yaml({ config, description, devices, name, used_by }));
  });
  verb('create', 'Make a profile')
    .argument('[settings...]', 'key=value...')
    .action(async (name: string, words: string[]) => {
      await session.api.send('POST', '/1.0/profiles', {
        body: { name, description: '', config: parsePairs(words), devices: {} },
      });
      session.print(`Profile ${printable(name)} created\n`);
    });
  verb('get', 'Show the value of one key')
    .argument('<key>')
    .action(async (name: string, key: string) => {
      const value = (await session.api.get<Profile>(path(name))).config[key] ?? '';
      session.print(`${session.io.stdout.isTTY ? printable(value, 'keep lines') : value}\n`);
    });
  verb('set', 'Set keys: key=value..., or key value')
    .argument('<settings...>')
    .action(async (name: string, words: string[]) => {
      const settings = parseSettings(words);
      await update(session, name, (before) => ({ ...before, config: { ...before.config, ...settings } }));
    });
  verb('unset', 'Remove keys')
    .argument('<keys...>')
    .action(async (name: string, keys: string[]) => {
      await update(session, name, (before) => {
        const missing = keys.find((key) => before.config[key] === undefined);
        if (missing !== undefined) throw new FairleadError('not_found', `"${missing}" is not set in profile ${name}.`);
        return {
          ...before,
          config: Object.fromEntries(Object.entries(before.config).filter(([key]) => !keys.includes(key))),
        };
      });
    });
  verb('edit', 'Change a profile in an editor, or from the standard input').action(async (name: string) => {
    const { metadata, etag } = await session.api.call<Profile>('GET', path(name));
    await edit(session.io, await yaml(writable(metadata)), async (body) => {
      await session.api.send('PUT', path(name), { etag, body });
    });
  });
  verb('rename', 'Rename a profile')
    .argument('<new-name>')
    .action(async (name: string, newName: string) => {
      await session.api.send('POST', path(name), { body: { name: newName } });
      session.print(`Profile ${printable(name)} renamed to ${printable(newName)}\n`);
    });
  verb('delete', 'Delete a profile')
    .alias('rm')
    .action(async (name: string) => {
      await session.api.send('DELETE', path(name));
      session.print(`Profile ${printable(name)} deleted\n`);
    });
}

async function update(session: Session, name: string, change: (before: ProfilePut) => ProfilePut): Promise<void> {
  const { metadata, etag } = await session.api.call<Profile>('GET', path(name));
  await session.api.send('PUT', path(name), { etag, body: change(writable(metadata)) });
}

function path(name: string): string {
  return url`/1.0/profiles/${name}`;
}

function writable({ config, description, devices }: Profile): ProfilePut {
  return { config, description, devices };
}
