import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

import type { ChaosOptions } from '../../infra/embedded/chaos.ts';

const PROGRAM = fileURLToPath(new URL('control.ts', import.meta.url));

/** A folder for `--cpu-prof`, from the environment: one profile is written for each control plane that ends gently. */
const PROFILES = process.env['FAIRLEAD_BENCH_PROFILES'];

/** A control plane in a process of its own, on its own data. It can be killed and started again at the same address. */
export class ControlPlaneProcess implements AsyncDisposable {
  readonly dataDir: string;
  readonly #listen: string;
  readonly #chaos: ChaosOptions | undefined;
  #child: ChildProcess | undefined;

  private constructor(dataDir: string, listen: string, chaos: ChaosOptions | undefined) {
    this.dataDir = dataDir;
    this.#listen = listen;
    this.#chaos = chaos;
  }

  /** Starts one; resolves when it is ready. */
  static async start(dataDir: string, chaos?: ChaosOptions): Promise<ControlPlaneProcess> {
    const control = new ControlPlaneProcess(dataDir, `127.0.0.1:${await freePort()}`, chaos);
    await control.start();
    return control;
  }

  async start(): Promise<void> {
    const args = ['--data', this.dataDir, '--listen', this.#listen];
    if (this.#chaos !== undefined) args.push('--chaos', JSON.stringify(this.#chaos));
    const profile = PROFILES === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', PROFILES];
    const child = fork(PROGRAM, args, { execArgv: ['--expose-gc', ...profile] });
    this.#child = child;
    const ended = once(child, 'exit').then(() => {
      throw new Error('the control plane did not start; it said why above');
    });
    await Promise.race([once(child, 'message'), ended]);
    ended.catch(() => undefined);
  }

  /** Ends it, and waits until it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** After a garbage collection; bytes. */
  async memory(): Promise<NodeJS.MemoryUsage> {
    const answer = once(this.#child!, 'message');
    this.#child!.send('memory');
    return ((await answer) as [NodeJS.MemoryUsage])[0];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A TCP port of this machine that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Resident memory, MiB: what the process wrote itself, and what is mapped from files, which processes share. */
export interface Resident {
  readonly all: number;
  readonly anonymous: number;
  readonly file: number;
}

/** Resident memory of a process. */
export async function residentMiB(pid: number): Promise<Resident> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  return { all: of('VmRSS'), anonymous: of('RssAnon'), file: of('RssFile') };
}
