/** A whole Fairlead in a lab: a control plane in this machine's root namespace, and a connector on each virtual host. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { FairleadError } from '#shared/errors.ts';
import { Lab } from './lab.ts';
import { MODE, PATIENCE, SEED } from './mode.ts';
import { must, run, type RunOptions, type RunResult } from './run.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const FAIRLEAD = join(PROJECT, 'cli/fairlead.mjs');
const CONTROL = join(PROJECT, 'test/lab/control.ts');
const BUILD = join(PROJECT, 'host-connector/build.ts');
const CONNECTOR_FOLDER = '/opt/fairlead';
const CONNECTOR = ['/usr/local/bin/node', `${CONNECTOR_FOLDER}/fairlead-connector.mjs`];
/** Node's options in the systemd unit: hosts of the lab run the connector with the memory it has elsewhere. */
const [, UNIT_OPTIONS = ''] =
  /^ExecStart=\S+\/node (.*?) \S+ run$/m.exec(
    readFileSync(join(PROJECT, 'host-connector/fairlead-connector.service'), 'utf8'),
  ) ?? [];
const [NODE = '', PROGRAM = ''] = CONNECTOR;
const RUN = [NODE, ...UNIT_OPTIONS.split(' ').filter(Boolean), PROGRAM, 'run'];
const READY_MS = 30_000;
const POLL_MS = 50;

export interface FleetOptions {
  readonly name: string;
  /** Names the hosts join under. */
  readonly hosts: readonly string[];
  readonly port?: number;
  /** Kept when the fleet goes down; otherwise a temporary one that goes too. */
  readonly dataDir?: string;
  /** Size of a small disk for each host. */
  readonly disk?: string;
  /** Runs each step; the demo prints them. */
  readonly step?: <T>(title: string, action: () => Promise<T>) => Promise<T>;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: {
    readonly type: string;
    readonly error: string;
    readonly metadata: unknown;
    readonly operation: string;
  };
}

export class Fleet {
  readonly lab: Lab;
  readonly dataDir: string;
  readonly url: string;
  readonly #listen: string;
  readonly #undo: AsyncDisposableStack;
  readonly #connectors = new Map<string, ChildProcess>();
  readonly #hosts: readonly string[];
  #control: ChildProcess | undefined;

  private constructor(lab: Lab, dataDir: string, options: FleetOptions, undo: AsyncDisposableStack) {
    this.lab = lab;
    this.dataDir = dataDir;
    this.#listen = `${lab.address}:${options.port ?? 8443}`;
    this.url = `https://${this.#listen}`;
    this.#hosts = options.hosts;
    this.#undo = undo;
  }

  /** Brings everything up, hosts joined and connected. What fails half way is taken down. */
  static async up(options: FleetOptions): Promise<Fleet> {
    const { step = (_title, action) => action() } = options;
    await using undo = new AsyncDisposableStack();
    const connector = await mkdtemp(join(tmpdir(), 'fairlead-connector-'));
    undo.defer(() => rm(connector, { recursive: true, force: true }));
    await step('connector, bundled into one file', () => must([process.execPath, BUILD, connector]));
    const { name, hosts, disk } = options;
    const binds = [{ source: connector, target: CONNECTOR_FOLDER }];
    const lab = await step(`${hosts.length} virtual hosts, each behind its own closed NAT`, () =>
      Lab.up({ name, hosts: hosts.length, binds, ...(disk !== undefined && { disk }) }),
    );
    undo.defer(() => lab.down());
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'fairlead-')));
    if (options.dataDir === undefined) undo.defer(() => rm(dataDir, { recursive: true, force: true }));
    const fleet = new Fleet(lab, dataDir, options, undo.move());
    try {
      await step(`control plane at ${fleet.url}`, () => fleet.startControl());
      for (const host of hosts) await step(`host ${host} joins and connects`, () => fleet.#enrol(host));
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
    return fleet;
  }

  /** Runs the `fairlead` command to its end, whatever that is. */
  fairlead(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run(this.command(args), options);
  }

  /** Runs the `fairlead` command, which must succeed; its stdout. */
  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.fairlead(args);
    if (code === 0) return stdout;
    throw new FairleadError(
      'internal',
      `fairlead ${args.join(' ')} ended with ${code}: ${stderr.trim() || stdout.trim()}`,
    );
  }

  /** The argv of a `fairlead` command. */
  command(args: readonly string[]): string[] {
    return [process.execPath, FAIRLEAD, '--data', this.dataDir, ...args];
  }

  /** One call of the API as the local user, or with another token; null sends none. */
  async api(
    method: string,
    path: string,
    body?: unknown,
    options: { token?: string | null; headers?: Record<string, string> } = {},
  ): Promise<ApiAnswer> {
    const token = options.token === undefined ? (await this.client()).token : options.token;
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const headers = {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(text !== undefined && { 'content-length': String(Buffer.byteLength(text)) }),
      ...options.headers,
    };
    const answer = await this.#exchange(path, method, headers, text);
    // What was throttled did nothing.
    return answer.status === 429 ? this.api(method, path, body, options) : answer;
  }

  async #exchange(
    path: string,
    method: string,
    headers: Record<string, string>,
    text: string | undefined,
  ): Promise<ApiAnswer> {
    const call = request(`${this.url}${path}`, { method, headers, rejectUnauthorized: false, agent: false });
    call.end(text);
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    const said = JSON.parse(Buffer.concat(parts).toString()) as ApiAnswer['body'];
    return { status: response.statusCode ?? 0, headers: response.headers, body: said };
  }

  /** URL, token and fingerprint of the local user. */
  async client(): Promise<{ url: string; token: string; fingerprint: string }> {
    return JSON.parse(await readFile(join(this.dataDir, 'client.json'), 'utf8')) as never;
  }

  /** The lab's host that joined under this name. */
  host(name: string) {
    return this.lab.host(this.#number(name));
  }

  /** The uplink of the host that joined under this name. */
  link(name: string) {
    return this.lab.link(this.#number(name));
  }

  #number(name: string): number {
    return this.#hosts.indexOf(name) + 1;
  }

  /** Starts the control plane, with settings of control.ts if any; resolves when it is ready. */
  async startControl(...settings: string[]): Promise<void> {
    const [program = '', ...args] = this.#controlCommand(settings);
    // A process group of its own: Ctrl-C at a demo is for the demo, which ends this when the hosts are gone.
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
      env: { ...process.env, FAIRLEAD_SEED: String(SEED) },
    });
    this.#control = child;
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('the control plane to be ready', async () => {
      if (child.exitCode === null) return said.includes('ready');
      throw new FairleadError('unavailable', 'The control plane did not start; it said why above.');
    });
  }

  #controlCommand(settings: readonly string[]): string[] {
    if (MODE === 'plain' && settings.length === 0) return this.command(['up', '--listen', this.#listen]);
    return [process.execPath, CONTROL, '--data', this.dataDir, '--listen', this.#listen, ...settings];
  }

  /** Ends the control plane, gently or not. */
  async stopControl(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const control = this.#control;
    await end(control, signal);
    this.#control = undefined;
    if (MODE === 'fresh' && signal === 'SIGTERM' && control !== undefined && control.exitCode !== 0) {
      throw new FairleadError(
        'internal',
        'A function returned before its work was done; what it left is logged above.',
      );
    }
  }

  async #enrol(name: string): Promise<void> {
    const token = (await this.must('host', 'token')).trim();
    await this.host(name).must([...CONNECTOR, 'join', token, '--name', name]);
    this.startConnector(name);
    await this.connected(name);
  }

  /** Starts a host's connector. */
  startConnector(name: string): void {
    this.#connectors.set(name, this.host(name).spawn(RUN, { stdio: 'ignore' }));
  }

  /** Ends a host's connector, gently or not. */
  async stopConnector(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.#connectors.get(name), signal);
    this.#connectors.delete(name);
  }

  /** Runs another verb of the connector on a host. */
  connector(name: string, ...args: string[]): Promise<RunResult> {
    return this.host(name).exec([...CONNECTOR, ...args]);
  }

  /** Waits until a host is online, or offline. */
  async connected(name: string, status: 'online' | 'offline' = 'online', withinMs = READY_MS): Promise<void> {
    await until(
      `host ${name} to be ${status}`,
      async () => {
        const { metadata } = (await this.api('GET', `/1.0/fleet/hosts/${name}`)).body;
        return (metadata as { status: string } | null)?.status === status;
      },
      withinMs,
    );
  }

  /** Waits until an instance has an IPv4 address; the address. */
  async addressOf(instance: string, host: string): Promise<string> {
    let address = '';
    await until(`${host}:${instance} to have an address`, async () => {
      const { metadata } = (await this.api('GET', `/1.0/instances/${instance}?recursion=1&target=${host}`)).body;
      const state = (
        metadata as {
          state: {
            network: Record<string, { addresses: { family: string; scope: string; address: string }[] }> | null;
          };
        }
      ).state;
      const global = Object.values(state.network ?? {}).flatMap(({ addresses }) =>
        addresses.filter(({ family, scope }) => family === 'inet' && scope === 'global'),
      );
      address = global[0]?.address ?? '';
      return address !== '';
    });
    return address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#connectors.keys()) await this.stopConnector(name);
    await this.stopControl();
    await this.#undo.disposeAsync();
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** Waits for a condition. @throws FairleadError `timed_out` naming what was waited for. */
export async function until(what: string, condition: () => Promise<boolean>, withinMs = READY_MS): Promise<void> {
  const deadline = performance.now() + withinMs * PATIENCE;
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new FairleadError('timed_out', `Waited ${(withinMs * PATIENCE) / 1000} s in vain for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
