import { setImmediate as turn } from 'node:timers/promises';

import type { CommandResult, HostFacts, InstanceReport, InstanceStatus, Measurement } from '#shared/link/commands.ts';
import { encodeFrame, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { decodeJoinToken } from '#shared/link/join-token.ts';
import { PROTOCOL_VERSION } from '#shared/link/limits.ts';
import { sha256 } from '../functions/domain/secrets.ts';
import { FakeMoves } from './fake-moves.ts';
import { signingKey, type World } from './world.ts';

type Command = Extract<DownFrame, { t: 'cmd' }>;
type Result = Extract<UpFrame, { t: 'res' }>;
type Answer = { readonly result?: CommandResult } | { readonly error: NonNullable<Result['error']> };

interface Kept {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly epoch: number;
  status: InstanceStatus;
}

/** A host as the connector is, without containers: a real key, real proofs, a journal, and a spool that is resent until acknowledged. */
export class FakeHost {
  readonly world: World;
  readonly key = signingKey();
  readonly held = new Map<string, Kept>();
  readonly moves = new FakeMoves(this.held, () => this.world.clock.now());
  readonly inbox: DownFrame[] = [];
  /** Frames that were not acknowledged yet. */
  readonly spool = new Map<number, UpFrame>();
  id = '';
  name = '';
  secret = { generation: 0, value: '' };
  connection = '';
  context: Readonly<Record<string, string>> = {};
  /** False: a crash before the welcome reaches the disk. */
  keepsSecrets = true;
  #seq = 0;
  #n = 0;
  readonly #journal = new Map<string, Answer & { seq: number }>();

  constructor(world: World) {
    this.world = world;
  }

  /** Enrols with a join token; the answer is that of the API. */
  async enrol(name: string, token: string) {
    const { i, s, u } = decodeJoinToken(token);
    const proof = this.key.sign('fl-enroll+jwt', { token: i, aud: u });
    const body = { token: i, secret: s, name, key: this.key.jwk, proof, facts: FACTS };
    const answer = await this.world.api('POST', '/1.0/fleet/enroll', body, { token: null });
    if (answer.status === 200) {
      const { host, name: given, secret } = answer.metadata as { host: string; name: string; secret: never };
      Object.assign(this, { id: host, name: given, secret });
    }
    return answer;
  }

  async nonce(): Promise<string> {
    const answer = await this.world.api('POST', `/1.0/fleet/hosts/${this.id}/nonce`, {}, { token: null });
    return (answer.metadata as { nonce: string }).nonce;
  }

  /** The JWS that opens a connection. */
  async proof(claims: object = {}): Promise<string> {
    const { generation, value } = this.secret;
    return this.key.sign('fl-host+jwt', {
      iss: `host:${this.id}`,
      aud: 'fl:ws',
      nonce: await this.nonce(),
      jti: 'j',
      gen: generation,
      isec: sha256(value),
      boot: 'b',
      ...claims,
    });
  }

  /** Opens a websocket with this proof, as a gateway does; false when it was refused. */
  async dial(proof?: string): Promise<boolean> {
    const connection = this.world.links.open((frame) => this.#read(connection, frame));
    const event = { connectionId: connection, sourceIp: '192.0.2.7' };
    const { allow, context } = await this.world.functions.authorize({
      headers: { authorization: `Bearer ${proof ?? (await this.proof())}` },
      queryStringParameters: {},
      requestContext: event,
    });
    if (!allow) return false;
    Object.assign(this, { connection, context });
    await this.world.functions.connect({ requestContext: { ...event, authorizer: context } });
    return true;
  }

  /** Dials, says hello, and reports what it holds. */
  async connect(options: { replaces?: boolean } = {}): Promise<this> {
    if (!(await this.dial())) throw new Error(`host ${this.name} was refused`);
    await this.hello(options);
    await this.report();
    return this;
  }

  async hello(options: { replaces?: boolean } = {}): Promise<void> {
    await this.send({ t: 'hello', v: PROTOCOL_VERSION, boot: 'b', facts: FACTS, ...options });
  }

  async report(): Promise<void> {
    const instances = [...this.held.values()].map(describe);
    const held = [...this.held.keys()];
    await this.send({ t: 'report', n: this.nextNumber(), instances, seq: this.nextSeq(), last: true, held });
  }

  /** One frame on the present connection, or an older one. */
  async send(frame: UpFrame, connection = this.connection, context = this.context): Promise<void> {
    await this.sendText(encodeFrame(frame), connection, context);
  }

  async sendText(body: string, connection = this.connection, context = this.context): Promise<void> {
    const requestContext = { connectionId: connection, sourceIp: '192.0.2.7', authorizer: context };
    await this.world.functions.message({ body, requestContext });
  }

  async disconnect(): Promise<void> {
    const { connection, context } = this;
    await this.world.links.close(connection);
    const requestContext = { connectionId: connection, sourceIp: '192.0.2.7', authorizer: context };
    await this.world.functions.disconnect({ requestContext });
  }

  #read(connection: string, frame: DownFrame): void {
    if (frame.t === 'welcome' && frame.secret && this.keepsSecrets && connection === this.connection) {
      if (frame.secret.generation >= this.secret.generation) this.secret = frame.secret;
    }
    if (frame.t === 'got') this.spool.delete(frame.n);
    this.inbox.push(frame);
  }

  nextSeq(): number {
    return ++this.#seq;
  }

  nextNumber(): number {
    return ++this.#n;
  }

  /** Commands that came, oldest first, each once. */
  commands(): Command[] {
    const all = this.inbox.filter((frame) => frame.t === 'cmd');
    return all.filter((frame, at) => all.findIndex(({ id }) => id === frame.id) === at);
  }

  pending(): Command[] {
    return this.commands().filter(({ id }) => !this.#journal.has(id));
  }

  /** The frame that answers a command; done once, a repeat is the same. */
  result(command: Command, answer: Answer = this.#execute(command)): Result {
    const done = this.#journal.get(command.id) ?? { ...answer, seq: this.nextSeq() };
    this.#journal.set(command.id, done);
    const frame: Result = { t: 'res', n: ++this.#n, id: command.id, ok: !('error' in done), ...done };
    this.spool.set(frame.n, frame);
    return frame;
  }

  event(id: string, status: InstanceStatus): Extract<UpFrame, { t: 'event' }> {
    const kept = this.held.get(id);
    if (kept === undefined) throw new Error(`${this.name} does not hold ${id}`);
    kept.status = status;
    const frame = { t: 'event', n: ++this.#n, seq: this.nextSeq(), instance: describe(kept) } as const;
    this.spool.set(frame.n, frame);
    return frame;
  }

  async resend(): Promise<void> {
    for (const frame of this.spool.values()) await this.send(frame);
  }

  /** Does everything that was asked for, successfully. */
  async work(): Promise<void> {
    for (let [next] = this.pending(); next !== undefined; [next] = this.pending()) await this.send(this.result(next));
  }

  /** Works while something else goes on. */
  async workDuring<T>(other: Promise<T>): Promise<T> {
    const over = new AbortController();
    const finished = other.finally(() => over.abort());
    const serve = async () => {
      while (!over.signal.aborted) {
        await this.work();
        await turn();
      }
    };
    const [value] = await Promise.all([finished, serve()]);
    return value;
  }

  #execute({ cmd }: Command): Answer {
    switch (cmd.kind) {
      case 'create': {
        const { id, name, project, epoch } = cmd.instance;
        this.held.set(id, { id, name, project, epoch, status: cmd.start ? 'Running' : 'Stopped' });
        return this.#told(id);
      }
      case 'update':
        return this.#told(cmd.instance.id);
      case 'state': {
        const kept = this.held.get(cmd.id);
        if (kept) kept.status = cmd.action === 'stop' ? 'Stopped' : cmd.action === 'freeze' ? 'Frozen' : 'Running';
        return this.#told(cmd.id);
      }
      case 'delete':
        this.held.delete(cmd.id);
        return { result: { kind: 'deleted', id: cmd.id } };
      case 'exec':
        return { result: { kind: 'exited', code: 0 } };
      case 'measure':
        return this.#told(cmd.id);
      case 'console-log':
        return { result: { kind: 'console-log', text: 'booted\n' } };
      case 'facts':
        return { result: { kind: 'facts', facts: FACTS } };
      case 'check-source':
      case 'check-target':
      case 'send':
      case 'park':
      case 'unpark':
      case 'retire':
      case 'forget':
      case 'receive':
      case 'prepare':
      case 'adopt':
      case 'discard':
        return this.moves.execute(cmd);
    }
  }

  #told(id: string): Answer {
    const kept = this.held.get(id);
    if (kept === undefined) return { error: { code: 'not_found', message: `no instance ${id} on this host` } };
    return { result: { kind: 'instance', report: describe(kept) } };
  }
}

function describe({ id, name, project, epoch, status }: Kept): InstanceReport {
  return { id, name, project, epoch, status, measurement: measured(status) };
}

/** What a host measures of an instance in this state. */
export function measured(status: InstanceStatus): Measurement {
  const running = status === 'Running' || status === 'Frozen';
  const memory = { usage: 1000, usage_peak: 2000, total: 4000, swap_usage: 0, swap_usage_peak: 0 };
  return {
    status,
    pid: running ? 4242 : 0,
    processes: running ? 3 : 0,
    cpu: { usage: 5 },
    memory,
    disk: {},
    network: {},
  };
}

export const FACTS: HostFacts = {
  hostname: 'h',
  os: 'Debian GNU/Linux 13',
  kernel: '6.12.0',
  architecture: 'x86_64',
  cpus: 2,
  cpuModel: 'a',
  memory: 8e9,
  disk: { total: 1e11, free: 5e10 },
  lxc: '6.0.4',
  storage: ['overlay'],
  cgroup: 'v2',
  lsm: 'none',
  connector: '0.1.0',
  policy: { hash: '', allows: [] },
  warnings: [],
};

/** A host of that name, enrolled; not connected. */
export async function enrolledHost(world: World, name: string): Promise<FakeHost> {
  const host = new FakeHost(world);
  const made = await world.api('POST', '/1.0/fleet/join-tokens', {});
  const answer = await host.enrol(name, (made.metadata as { token: string }).token);
  if (answer.status !== 200) throw new Error(answer.error);
  return host;
}

/** A host of that name, enrolled and connected. */
export async function connectedHost(world: World, name: string): Promise<FakeHost> {
  return (await enrolledHost(world, name)).connect();
}

/** Launches an empty instance on a host (`target`), and lets the host do it; the id of its operation. */
export async function launch(world: World, host: FakeHost, name: string, more: object = {}): Promise<string> {
  const body = { name, source: { type: 'none' }, start: true, ...more };
  const answer = await world.api('POST', `/1.0/instances?target=${host.name}`, body);
  if (answer.status !== 202) throw new Error(answer.error);
  await host.work();
  return (answer.metadata as { id: string }).id;
}
