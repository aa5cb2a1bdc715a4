/** The demo of `npm start`: the real programs, as a user would call them, between two hosts that nobody can reach. */
import { parseArgs } from 'node:util';

import { messageOf } from '#shared/errors.ts';
import { ensureBase } from './base.ts';
import { Fleet } from './fleet.ts';
import { ensureImage } from './images.ts';

const interrupted = new Promise<never>((_resolve, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Interrupted()));
});
// Whoever waits for it hears of it; until somebody does, it is no unhandled failure.
interrupted.catch(() => undefined);

class Interrupted extends Error {}

/** Prints what is done and how long it took. Ctrl-C ends the demo after the step. */
async function step<T>(title: string, action: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await action();
  process.stdout.write(`${((performance.now() - start) / 1000).toFixed(2).padStart(7)} s  ${title}\n`);
  await Promise.race([interrupted, Promise.resolve()]);
  return result;
}

async function demo(port: number, dataDir: string | undefined): Promise<void> {
  await step('root filesystem of the virtual hosts (built once, then cached)', () => ensureBase());
  const image = await step('busybox image (built once, then cached)', () => ensureImage('busybox'));
  const hosts = ['foo', 'bar'];
  await using fleet = await Fleet.up({ name: 'demo', hosts, port, step, ...(dataDir !== undefined && { dataDir }) });
  const say = (...args: string[]) => step(`fairlead ${args.join(' ')}`, () => fleet.must(...args));

  await step('fairlead image import busybox.tar.gz --alias bb', () =>
    fleet.must('image', 'import', image.path, '--alias', 'bb'),
  );
  await say('launch', 'bb', 'foo:c1', '-c', 'environment.TICK=0.1', '-c', 'migration.stateful=true');
  await step('c1 gets its address', () => fleet.addressOf('c1', 'foo'));
  const hostname = await say('exec', 'foo:c1', '--', 'hostname');
  process.stdout.write(`           ${hostname}`);
  process.stdout.write(await say('list'));
  await moveLive(fleet, say);
  const { sentToPeers, inbound, toControl } = await fleet.lab.packets();
  process.stdout.write(`
Packets from host to host: ${sentToPeers}. Connections into a host: ${inbound}. Packets from the hosts out to the control plane: ${toControl.join(' and ')}.

Go on in another terminal, in this folder, as the same user:
  npx fairlead exec c1 -- sh           a shell in the container
  npx fairlead launch bb bar:c2        another container, on the other host
  npx fairlead move c1 foo:            back, with its memory
  npx fairlead list                    the fleet
  npx fairlead host token              what another host needs to join; it must reach ${fleet.url}
Ctrl-C ends the demo and leaves nothing behind.
`);
  await interrupted.catch(() => process.stdout.write('\nTaking everything down.\n'));
}

/** The container counts in its memory; it counts on, on the other host. */
async function moveLive(fleet: Fleet, say: (...args: string[]) => Promise<string>): Promise<void> {
  const check = await fleet.fairlead(['move', 'foo:c1', 'bar:', '--check']);
  if (check.code !== 0) {
    process.stdout.write(`\nNo live move on this machine:\n${check.stdout}${check.stderr}`);
    return;
  }
  const ticks = async (place: string) => (await fleet.must('exec', place, '--', 'cat', '/run/ticks')).trim();
  const before = await ticks('foo:c1');
  const moved = await say('move', 'foo:c1', 'bar:');
  process.stdout.write(`           ${moved}`);
  process.stdout.write(`           it counted to ${before} in memory before, and to ${await ticks('bar:c1')} now\n`);
}

const { values } = parseArgs({ options: { port: { type: 'string', default: '8443' }, data: { type: 'string' } } });
try {
  await demo(Number(values.port), values.data);
} catch (error) {
  if (!(error instanceof Interrupted)) {
    process.stderr.write(`\nError: ${messageOf(error)}\n`);
    process.exitCode = 1;
  }
}
