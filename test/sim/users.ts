import { keys } from '../../functions/domain/keys.ts';
import type { ImageParts, ImageRecord } from '../../functions/domain/images/image.ts';
import type { InstanceRecord } from '../../functions/domain/instances/instance.ts';
import { Client } from './client.ts';
import type { Edge } from './edge.ts';
import type { Machine } from './machine.ts';
import type { Run } from './run.ts';
import type { Watcher } from './watcher.ts';

const NAMES = ['c1', 'c2'];
const IMAGE = 'ab'.repeat(32);
/** Parts of the image: more than one answer takes. */
const PARTS = 14;

/** What users do, at random. */
export class Users {
  readonly #run: Run;
  readonly #edge: Edge;
  readonly #machines: readonly Machine[];
  readonly #watcher: Watcher;
  readonly clients: Client[] = [];
  #count = 0;

  constructor(run: Run, edge: Edge, machines: readonly Machine[], watcher: Watcher) {
    this.#run = run;
    this.#edge = edge;
    this.#machines = machines;
    this.#watcher = watcher;
  }

  /** An image that can be launched. */
  addImage(): void {
    const image: ImageRecord = {
      fingerprint: IMAGE,
      project: 'default',
      architecture: 'x86_64',
      properties: {},
      filename: 'i',
      size: PARTS,
      public: false,
      createdAt: 0,
      uploadedAt: 0,
    };
    const parts = Array.from({ length: PARTS }, (_, at) => ({ key: `i/${at}`, length: 1, sha256: IMAGE }));
    this.#edge.store.transact([
      { op: 'put', key: keys.image('default', IMAGE), data: image, when: 'absent' },
      { op: 'put', key: keys.imageParts('default', IMAGE), data: { parts } satisfies ImageParts, when: 'absent' },
    ]);
  }

  /** One of them does something, and does not wait for it. */
  act(): void {
    const { chance } = this.#run;
    const instance = this.#choose();
    if (instance === undefined || chance.is(0.15))
      return void this.launch(chance.pick(NAMES), chance.pick(this.#machines));
    const { name, machine, status } = instance;
    const place = `/1.0/instances/${name}?target=${machine.name}`;
    const state = (action: string) => () =>
      this.#ask('PUT', `/1.0/instances/${name}/state?target=${machine.name}`, {
        action,
        force: chance.is(0.6),
        timeout: 30,
      });
    const update = () => this.#ask('PATCH', place, { config: { 'user.rev': `${++this.#count}` } });
    const exec = () => this.#exec(name, machine);
    const always = [
      update,
      () => this.#ask('PATCH', '/1.0/profiles/default', { config: { 'user.p': `${++this.#count}` } }),
      () => this.#cancel(),
      () => this.#ask('GET', '/1.0/instances?recursion=2'),
      () => this.#ask('GET', '/1.0/operations?recursion=1'),
      () => this.#ask('GET', `/1.0/instances/${name}/state?target=${machine.name}`),
      () => this.#guestStops(machine),
      () => this.#leave(),
    ];
    const remove = () => this.#ask('DELETE', place);
    const now = {
      Stopped: [state('start'), state('start'), state('start'), state('start'), remove, remove],
      Running: [
        state('stop'),
        state('stop'),
        state('restart'),
        state('restart'),
        state('freeze'),
        exec,
        exec,
        exec,
        exec,
      ],
      Frozen: [state('unfreeze'), state('unfreeze'), state('unfreeze'), state('stop')],
      Error: [remove, remove, state('start')],
    };
    const any = Object.values(now).flat();
    // Mostly what makes sense; sometimes what does not, or will not when it arrives.
    const sensible = chance.is(0.8) ? now[status] : any;
    void chance.pick(chance.is(0.6) ? sensible : [...always, ...sensible])();
  }

  /** One of the instances the registry knows. */
  #choose(): { name: string; machine: Machine; status: InstanceRecord['status'] } | undefined {
    const known = this.#edge.store.all<InstanceRecord>('INSTANCES#');
    if (known.length === 0) return undefined;
    const { name, host, status } = this.#run.chance.pick(known).data;
    const machine = this.#machines.find(({ id }) => id === host);
    return machine && { name, machine, status };
  }

  async #ask(method: string, path: string, body?: unknown) {
    const answer = await this.#edge.http(method, path, body);
    this.#run.trace(
      () =>
        `> ${method} ${path} ${JSON.stringify(body ?? '').slice(0, 120)} → ${answer?.status ?? 'lost'} ${answer?.error ?? ''}`,
    );
    return answer;
  }

  /** Launches an instance. */
  async launch(name: string, machine: Machine): Promise<void> {
    const { chance } = this.#run;
    const source = chance.is(0.3) ? { type: 'image', fingerprint: IMAGE } : { type: 'none' };
    const body = { name, source, start: chance.is(0.7), ephemeral: chance.is(0.1), config: { 'user.rev': '0' } };
    await this.#ask('POST', `/1.0/instances?target=${machine.name}`, body);
  }

  async #exec(name: string, machine: Machine): Promise<void> {
    const { chance } = this.#run;
    const key = `x${++this.#count}`;
    const command = [key, 'hello '.repeat(chance.between(0, 2000))];
    const body = { command, 'wait-for-websocket': true, interactive: true };
    const answer = await this.#ask('POST', `/1.0/instances/${name}/exec?target=${machine.name}`, body);
    if (answer?.status !== 202) return;
    const { id, metadata } = answer.metadata as { id: string; metadata: { fds: Record<string, string> } };
    const program = () => machine.machinery.programs.get(key)?.program;
    this.clients.push(new Client(this.#run, this.#edge, key, { operation: id, secrets: metadata.fds, program }));
  }

  async #cancel(): Promise<void> {
    const recent = this.#watcher.operations.slice(-4);
    if (recent.length > 0) await this.#ask('DELETE', `/1.0/operations/${this.#run.chance.pick(recent)}`);
  }

  async #guestStops({ machinery }: Machine): Promise<void> {
    const ids = [...machinery.containers.keys()];
    if (ids.length > 0) machinery.guestStops(this.#run.chance.pick(ids));
  }

  async #leave(): Promise<void> {
    const client = this.clients.at(-1);
    if (client?.process.alive) client.kill();
  }
}
