import type { Command } from 'commander';

import type { Alias, Image } from '#shared/lxd/image.ts';
import { url } from '../client/http.ts';
import { gather, parsePairs } from '../grammar.ts';
import { dateTime, longDate } from '../output/age.ts';
import { asFormat, bytesSi, listing, naturally, shortFingerprint } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';
import { importImage } from './image-import.ts';
import { resolveImage } from './images.ts';
import { onEach } from './instances.ts';

/** `image import|list|info|delete` and `image alias create|list|rename|delete`. */
export function registerImage(program: Command, session: Session): void {
  const image = program.command('image').description('The catalogue of images');
  image
    .command('import')
    .description('Upload an image file into the catalogue')
    .argument('<file>', 'an image with metadata.yaml and rootfs (tar, tar.gz, tar.xz, tar.zst)')
    .argument('[properties...]', 'key=value...')
    .option('--alias <name>', 'an alias for it; may be repeated', gather)
    .option('--public', 'readable without an account')
    .action(async (file: string, words: string[], options: { alias?: readonly string[]; public?: boolean }) => {
      await importImage(session, file, {
        properties: parsePairs(words),
        aliases: options.alias ?? [],
        public: options.public ?? false,
      });
    });
  image
    .command('list')
    .alias('ls')
    .description('List the images')
    .argument('[filter...]', 'beginnings of aliases or fingerprints, property=value')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (filters: string[], options: { format: string }) => {
      const format = asFormat(options.format);
      const all = await session.api.get<Image[]>('/1.0/images', { recursion: 1 });
      const shown = all.filter((one) => filters.every((filter) => matches(one, filter))).sort(byAlias);
      session.print(await listing(format, { headings: HEADINGS, rows: shown.map(row), objects: shown }));
    });
  image
    .command('info')
    .alias('show')
    .description('Show an image')
    .argument('<image>', 'alias or fingerprint')
    .action(async (name: string) => {
      const fingerprint = await resolveImage(session.api, name);
      session.print(imageInfo(await session.api.get<Image>(url`/1.0/images/${fingerprint}`)));
    });
  image
    .command('delete')
    .alias('rm')
    .description('Delete images')
    .argument('<image...>', 'alias or fingerprint')
    .action(async (names: string[]) => {
      await onEach(session, names, async (name) => {
        const fingerprint = await resolveImage(session.api, name);
        await session.finish(await session.api.start('DELETE', url`/1.0/images/${fingerprint}`));
      });
    });
  registerAlias(image.command('alias').description('Names of images'), session);
}

function registerAlias(alias: Command, session: Session): void {
  alias
    .command('list')
    .alias('ls')
    .description('List the aliases')
    .argument('[filter]', 'beginning of the alias or fingerprint')
    .option('-f, --format <format>', 'table, csv, json or yaml', 'table')
    .action(async (filter: string | undefined, options: { format: string }) => {
      const format = asFormat(options.format);
      const all = await session.api.get<Alias[]>('/1.0/images/aliases', { recursion: 1 });
      const shown = all.filter(
        (one) => filter === undefined || one.name.startsWith(filter) || one.target.startsWith(filter),
      );
      shown.sort((a, b) => naturally(a.name, b.name));
      const rows = shown.map(({ name, target, type, description }) => [
        name,
        shortFingerprint(target),
        type.toUpperCase(),
        description,
      ]);
      session.print(
        await listing(format, { headings: ['ALIAS', 'FINGERPRINT', 'TYPE', 'DESCRIPTION'], rows, objects: shown }),
      );
    });
  alias
    .command('create')
    .description('Give an image a name')
    .argument('<alias>')
    .argument('<fingerprint>', 'or another alias of the image')
    .option('--description <text>', 'what it is')
    .action(async (name: string, image: string, { description = '' }: { description?: string }) => {
      const target = await resolveImage(session.api, image);
      await session.api.send('POST', '/1.0/images/aliases', { body: { name, target, description, type: 'container' } });
    });
  alias
    .command('rename')
    .description('Rename an alias')
    .argument('<alias>')
    .argument('<new-name>')
    .action(async (name: string, newName: string) => {
      await session.api.send('POST', url`/1.0/images/aliases/${name}`, { body: { name: newName } });
    });
  alias
    .command('delete')
    .alias('rm')
    .description('Remove an alias; the image stays')
    .argument('<alias>')
    .action(async (name: string) => {
      await session.api.send('DELETE', url`/1.0/images/aliases/${name}`);
    });
}

const HEADINGS = [
  'ALIAS',
  'FINGERPRINT',
  'PUBLIC',
  'DESCRIPTION',
  'ARCHITECTURE',
  'TYPE',
  'SIZE',
  'UPLOAD DATE',
] as const;

function row(image: Image): string[] {
  return [
    aliasCell(image),
    shortFingerprint(image.fingerprint),
    image.public ? 'yes' : 'no',
    image.properties['description'] ?? '',
    image.architecture,
    image.type.toUpperCase(),
    bytesSi(image.size),
    longDate(image.uploaded_at),
  ];
}

function aliasCell({ aliases }: Image): string {
  const [first, ...more] = aliases;
  return first === undefined ? '' : `${first.name}${more.length > 0 ? ` (${more.length} more)` : ''}`;
}

function byAlias(a: Image, b: Image): number {
  return naturally(aliasCell(a), aliasCell(b)) || naturally(a.fingerprint, b.fingerprint);
}

function matches({ fingerprint, aliases, properties, type, architecture }: Image, filter: string): boolean {
  const equals = filter.indexOf('=');
  if (equals < 1) return fingerprint.startsWith(filter) || aliases.some(({ name }) => name.startsWith(filter));
  const [key, value] = [filter.slice(0, equals), filter.slice(equals + 1)];
  return { ...properties, type, architecture }[key]?.toLowerCase() === value.toLowerCase();
}

/** What `lxc image info` prints. */
function imageInfo(image: Image): string {
  const never = (time: string) => dateTime(time) || 'never';
  const list = (items: readonly string[]) => items.map((item) => `    - ${item}`);
  const lines = [
    `Fingerprint: ${image.fingerprint}`,
    `Size: ${bytesSi(image.size)}`,
    `Architecture: ${image.architecture}`,
    `Type: ${image.type}`,
    `Public: ${image.public ? 'yes' : 'no'}`,
    'Timestamps:',
    `    Created: ${never(image.created_at)}`,
    `    Uploaded: ${never(image.uploaded_at)}`,
    `    Expires: ${never(image.expires_at)}`,
    `    Last used: ${never(image.last_used_at)}`,
    'Properties:',
    ...Object.entries(image.properties)
      .map(([key, value]) => `    ${key}: ${value}`)
      .sort(),
    'Aliases:',
    ...list(image.aliases.map(({ name }) => name)),
    `Cached: ${image.cached ? 'yes' : 'no'}`,
    `Auto update: ${image.auto_update ? 'enabled' : 'disabled'}`,
    ...(image.profiles.length > 0 ? ['Profiles:', ...list(image.profiles)] : []),
  ];
  return `${printable(lines.join('\n'), 'keep lines')}\n`;
}
