/** The demo of `npm start`: the real programs, as a user would call them, between two hosts that nobody can reach. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { messageOf } from '#shared/errors.ts';
import { buildConnector } from '../../host-connector/build.ts';
import { ensureBase } from './base.ts';
import { ensureImage } from './images.ts';
import { Lab } from './lab.ts';
import { run } from './run.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const FAIRLEAD = join(PROJECT, 'cli/fairlead.mjs');
const CONNECTOR_TARGET = '/opt/fairlead';
const CONNECTOR = ['/usr/local/bin/node', `${CONNECTOR_TARGET}/fairlead-connector.mjs`];
const HOSTS = ['foo', 'bar'];
const COMMAND_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 30_000;

const stop = new AbortController();
const undo = new AsyncDisposableStack();

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());

async function demo(port: string, data: string | undefined): Promise<void> {
  await step('root filesystem of the virtual hosts (built once, then cached)', () => ensureBase());
  const image = await step('busybox image (built once, then cached)', () => ensureImage('busybox'));
  const connector = await step('connector, bundled into one file', () => buildConnector());
  const lab = await step('two virtual hosts, each behind its own closed NAT', () =>
    Lab.up({ name: 'demo', hosts: HOSTS.length, binds: [{ source: connector, target: CONNECTOR_TARGET }] }),
  );
  undo.defer(() => lab.down());

  const dataDir = data ?? (await mkdtemp(join(tmpdir(), 'fairlead-demo-')));
  if (data === undefined) undo.defer(() => rm(dataDir, { recursive: true, force: true }));
  await step('control plane', () => startControlPlane(`${lab.address}:${port}`, dataDir));
  const fairlead = (...args: string[]) => command([process.execPath, FAIRLEAD, '--data', dataDir, ...args]);

  for (const [at, name] of HOSTS.entries()) {
    await step(`host ${name} joins`, async () => {
      const token = (await fairlead('host', 'token')).trim();
      const host = lab.host(at + 1);
      await host.must([...CONNECTOR, 'join', token, '--name', name]);
      undo.use(daemon(host.spawn([...CONNECTOR, 'run'], { stdio: 'ignore' })));
    });
  }
  await step('both hosts are connected', () => until(async () => !/offline/i.test(await fairlead('host', 'list'))));
  await step('fairlead image import busybox --alias bb', () =>
    fairlead('image', 'import', image.path, '--alias', 'bb'),
  );
  await step('fairlead launch bb foo:c1', () => fairlead('launch', 'bb', 'foo:c1'));
  const hostname = await step('fairlead exec foo:c1 -- hostname', () => fairlead('exec', 'foo:c1', '--', 'hostname'));
  process.stdout.write(`\nThe container says its name is ${hostname}\n`);
  await until(async () => /\d+\.\d+\.\d+\.\d+/.test(await fairlead('list', '--format', 'csv')));
  process.stdout.write(await fairlead('list'));
  const packets = await lab.packets();
  process.stdout.write(`
Packets from host to host: ${packets.sentToPeers}. New connections into a host: ${packets.inbound}. From the hosts out to the control plane: ${packets.toControl.join(' and ')}.

Go on in another terminal, in this folder:
  npx fairlead exec foo:c1 -- sh          a shell in the container
  npx fairlead launch bb bar:c2           another one, on the other host
  npx fairlead list                       the fleet
  npx fairlead host token                 what a real host needs to join; it must reach https://${lab.address}:${port}
Ctrl-C ends the demo and leaves nothing behind.
`);
  await aborted();
}

/** Prints what is done and how long it took. Ctrl-C between two steps ends the demo. */
async function step<T>(title: string, action: () => Promise<T>): Promise<T> {
  stop.signal.throwIfAborted();
  const start = performance.now();
  const result = await Promise.race([action(), aborted().then(() => Promise.reject(stop.signal.reason as Error))]);
  process.stdout.write(`${((performance.now() - start) / 1000).toFixed(2).padStart(7)} s  ${title}\n`);
  return result;
}

function aborted(): Promise<void> {
  return new Promise((resolve) => {
    if (stop.signal.aborted) resolve();
    else stop.signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function startControlPlane(listen: string, dataDir: string): Promise<void> {
  // A process group of its own: Ctrl-C is for the demo, which ends it when the hosts are gone.
  const child = spawn(process.execPath, [FAIRLEAD, '--data', dataDir, 'up', '--listen', listen], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  undo.use(daemon(child));
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`The control plane did not start: see above.`);
    return said.includes('ready');
  });
}

function daemon(child: ChildProcess): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function command(argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv, { timeoutMs: COMMAND_TIMEOUT_MS });
  if (code !== 0) throw new Error(`${argv.slice(2).join(' ')}: ${stderr.trim() || stdout.trim()}`);
  return stdout;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + READY_TIMEOUT_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('It took too long.');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const { values } = parseArgs({ options: { port: { type: 'string', default: '8443' }, data: { type: 'string' } } });
try {
  await demo(values.port, values.data);
} catch (error) {
  if (!stop.signal.aborted) {
    process.stderr.write(`\nError: ${messageOf(error)}\n`);
    process.exitCode = 1;
  }
}
process.stdout.write('\nTaking everything down.\n');
await undo.disposeAsync();
