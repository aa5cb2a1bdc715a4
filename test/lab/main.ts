/** The lab for people: `node test/lab/main.ts` says what it can do. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { messageOf } from '#shared/errors.ts';
import { ensureBase } from './base.ts';
import { listLabs, removeLab } from './claim.ts';
import type { Bind } from './host.ts';
import { IMAGE_KINDS, ensureImage } from './images.ts';
import { Lab } from './lab.ts';

const BAD_USAGE = 2;
const USAGE = `node test/lab/main.ts
  up NAME [HOSTS] [--disk SIZE] [--bind SOURCE:TARGET]...   bring a lab up; it stays until "down"
  down NAME                                                take it down
  list                                                     labs of this machine
  exec NAME HOST COMMAND...                                run a command inside a host (1, 2, ...)
  reboot NAME HOST                                         pull the plug of a host and boot it again
  link NAME HOST cut|drop|reset|up|rate MBIT               trouble on a host's uplink
  packets NAME                                             the counters: between hosts, inbound, to the control plane
  base                                                     build the hosts' root filesystem; print its folder
  image busybox|debian                                     build an LXD image; print its fingerprint and path
  sweep                                                    remove what crashed labs left
`;

async function main([verb = 'help', name = '', ...rest]: string[]): Promise<number> {
  switch (verb) {
    case 'up':
      return up(name, rest);
    case 'down':
      return down(name);
    case 'list':
      for (const lab of await listLabs())
        say(`${lab.id}\t${lab.name}\t${lab.hosts} hosts\t${lab.owner ? `of process ${lab.owner.pid}` : 'kept'}`);
      return 0;
    case 'exec':
      return exec(await Lab.open(name), rest);
    case 'reboot':
      await (await Lab.open(name)).host(Number(rest[0])).reboot();
      return 0;
    case 'link':
      return link(await Lab.open(name), rest);
    case 'packets':
      say(JSON.stringify(await (await Lab.open(name)).packets(), undefined, 2));
      return 0;
    case 'base':
      say(await ensureBase());
      return 0;
    case 'image':
      return image(name);
    case 'sweep':
      for (const swept of await Lab.sweep()) say(swept);
      return 0;
    default:
      return usage();
  }
}

async function up(name: string, rest: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: rest,
    options: { disk: { type: 'string' }, bind: { type: 'string', multiple: true } },
    allowPositionals: true,
  });
  const lab = await Lab.up({
    name,
    keep: true,
    hosts: Number(positionals[0] ?? 2),
    ...(values.disk !== undefined && { disk: values.disk }),
    binds: (values.bind ?? []).map(bindOf),
  });
  say(`lab ${name}: ${lab.hosts.length} hosts; the control plane listens on ${lab.address}`);
  return 0;
}

/** Also for labs that never came up whole. */
async function down(name: string): Promise<number> {
  for (const lab of await listLabs()) if (lab.owner === null && lab.name === name) await removeLab(lab.id);
  return 0;
}

async function exec(lab: Lab, [host, ...argv]: string[]): Promise<number> {
  const child = lab.host(Number(host)).spawn(argv, { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

async function link(lab: Lab, [host, trouble, mbit]: string[]): Promise<number> {
  const link = lab.link(Number(host));
  if (trouble === 'cut' || trouble === 'drop' || trouble === 'reset' || trouble === 'up') await link[trouble]();
  else if (trouble === 'rate' && Number(mbit) > 0) await link.rate(Number(mbit));
  else return usage();
  return 0;
}

async function image(wanted: string): Promise<number> {
  const kind = IMAGE_KINDS.find((known) => known === wanted);
  if (!kind) return usage();
  const { fingerprint, path } = await ensureImage(kind);
  say(`${fingerprint}  ${path}`);
  return 0;
}

function usage(): number {
  process.stderr.write(USAGE);
  return BAD_USAGE;
}

function bindOf(pair: string): Bind {
  const [source = '', target = source] = pair.split(':');
  return { source, target };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
