/** An AWS to test against: moto's server, from the lab's base filesystem, on this machine's loopback. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '#shared/errors.ts';
import { ensureBase } from './base.ts';

const START = fileURLToPath(new URL('moto-start.sh', import.meta.url));
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Python reads a hundred modules first. */
const START_MS = 60_000;
const LOOK_EVERY_MS = 50;
const LOG_BOUND = 2000;

export interface Moto extends AsyncDisposable {
  /** Without a slash at its end. */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts moto with nothing in it; everything it holds is gone with it. It dies with this process.
 * @throws FairleadError `forbidden` without root, `unavailable` when it does not start
 */
export async function startMoto(port?: number): Promise<Moto> {
  if (process.getuid?.() !== 0)
    throw new FairleadError('forbidden', 'moto runs in a mount of its own: run it as root.');
  const chosen = port ?? (await freePort());
  const child = spawn('bash', [START, await ensureBase(), String(chosen)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: SEARCH_PATH, HOME: '/root', LANG: 'C.UTF-8' },
  });
  const url = `http://127.0.0.1:${chosen}`;
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  try {
    await untilItAnswers(child, url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop, [Symbol.asyncDispose]: stop };
}

async function untilItAnswers(child: ChildProcess, url: string): Promise<void> {
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log = `${log}${chunk.toString()}`.slice(-LOG_BOUND)));
  const giveUp = Date.now() + START_MS;
  while (child.exitCode === null && Date.now() < giveUp) {
    if (await answers(`${url}/moto-api/`)) return;
    await pause(LOOK_EVERY_MS);
  }
  throw new FairleadError('unavailable', `moto did not start. Its log ends with: ${log.trim()}`);
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false; // Nobody listens yet.
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
