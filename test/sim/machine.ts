import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { READ_ONLY, type CommandKind, type HostCommand } from '#shared/link/commands.ts';
import { readHostPolicy } from '#shared/config/policy.ts';
import type { Context, Executors } from '../../host-connector/commands/executor.ts';
import type { Host } from '../../host-connector/commands/host.ts';
import { Journal } from '../../host-connector/commands/journal.ts';
import { Observer } from '../../host-connector/commands/observer.ts';
import { Roles } from '../../host-connector/commands/roles.ts';
import { openConnector, run as begin, type Connector, type ConnectorParts } from '../../host-connector/connector.ts';
import { Counter, ensureSchema } from '../../host-connector/database.ts';
import { hostPaths } from '../../host-connector/host/paths.ts';
import { loadRecord, saveRecord, type HostRecord } from '../../host-connector/identity/record.ts';
import type { Dial } from '../../host-connector/link/dial.ts';
import { Spool } from '../../host-connector/link/spool.ts';
import { FACTS } from '../fake-host.ts';
import { signingKey } from '../world.ts';
import { Machinery } from './containers.ts';
import { SimDisk } from './disk.ts';
import { PUBLIC_URL, type Edge } from './edge.ts';
import type { Site } from './gateway.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

const STATE_DIR = '/state';
const DAY_MS = 24 * 3600_000;
/** systemd starts a connector again after this long. */
const RESTART_MS = 5000;

interface Process extends Mortal {
  connector?: Connector;
  host?: Host;
}

/** A host: its disk and containers, and the real connector that runs on it, again and again. */
export class Machine implements Site {
  readonly name: string;
  readonly machinery: Machinery;
  readonly disk: SimDisk;
  readonly db = new DatabaseSync(':memory:');
  partitioned = false;
  id = '';
  process: Process = { alive: false };
  readonly #run: Run;
  readonly #edge: Edge;
  readonly #key = signingKey();
  /** The clock of this host is up to a day off. */
  readonly #skew: number;
  /** How often each command was acted upon, and the newest command each instance saw. */
  readonly #acted = new Map<string, number>();
  readonly #newest = new Map<string, number>();
  /** The place of a command among all that were ever given. */
  orderOf: (command: string) => number | undefined = () => undefined;
  #isOff = false;

  constructor(run: Run, edge: Edge, name: string) {
    this.#run = run;
    this.#edge = edge;
    this.name = name;
    this.#skew = run.chance.between(-DAY_MS, DAY_MS);
    this.machinery = new Machinery(run);
    this.disk = new SimDisk(run);
    ensureSchema(this.db, 'the journal');
    this.machinery.changed = (id) => this.process.connector?.watch.changed(id);
  }

  /** Joins the fleet. */
  async enrol(token: { id: string; secret: string }): Promise<void> {
    const proof = this.#key.sign('fl-enroll+jwt', { token: token.id, aud: PUBLIC_URL });
    const body = { token: token.id, secret: token.secret, name: this.name, key: this.#key.jwk, proof, facts: FACTS };
    const answer = await this.#edge.http('POST', '/1.0/fleet/enroll', body);
    if (answer?.status !== 200) throw new Error(`${this.name} could not join: ${answer?.error}`);
    const { host, name, secret } = answer.metadata as { host: string; name: string; secret: HostRecord['secret'] };
    this.id = host;
    this.#run.secrets.add(secret.value);
    await saveRecord(STATE_DIR, { hostId: host, name, url: PUBLIC_URL, secret }, this.disk.of({ alive: true }));
  }

  /** Starts the connector; when it cannot start, it is tried again. */
  start(): void {
    if (this.process.alive || this.#isOff) return;
    const process: Process = { alive: true };
    this.process = process;
    this.#run.trace(() => `@ ${this.name} starts its connector`);
    this.#open(process).catch((error: unknown) => {
      if (!process.alive) return;
      this.#run.trace(() => `@ ${this.name} cannot start: ${messageOf(error)}`);
      this.kill();
    });
  }

  /** The connector dies; containers go on, systemd starts another. */
  kill(): void {
    this.#die(true);
    this.#run.timeline.after(RESTART_MS, () => this.start());
  }

  /** Power is lost, for so long. */
  reboot(downMs: number): void {
    this.#run.trace(() => `@ ${this.name} loses power for ${downMs} ms`);
    this.#die(this.#run.nemesis.coin());
    this.machinery.reboot();
    this.disk.crash();
    this.#isOff = true;
    this.#run.timeline.after(downMs, () => {
      this.#isOff = false;
      this.start();
    });
  }

  /** Nothing more fits on the disk, or it does again. */
  fill(isFull: boolean): void {
    this.#run.trace(() => `@ the disk of ${this.name} is ${isFull ? 'full' : 'free again'}`);
    this.disk.isFull = isFull;
    this.machinery.isFull = isFull;
    this.machinery.wasFull ||= isFull;
    const { page_count: pages } = this.db.prepare('PRAGMA page_count').get() as { page_count: number };
    this.db.exec(`PRAGMA max_page_count = ${isFull ? pages : 1_000_000}`);
  }

  get isOn(): boolean {
    return this.process.connector !== undefined && this.process.alive;
  }

  #die(told: boolean): void {
    this.process.alive = false;
    delete this.process.connector;
    this.machinery.acting.clear();
    this.#edge.gateway.died(this.process, told);
  }

  async #open(process: Process): Promise<void> {
    const { timeline, chance, build } = this.#run;
    const disk = this.disk.of(process);
    const record = await loadRecord(STATE_DIR, disk);
    if (!record) {
      this.#run.violated('nothing durable is lost', `${this.name} has forgotten who it is`);
      return;
    }
    const roles = await Roles.open(hostPaths(STATE_DIR), disk);
    const parts = this.machinery.of(process, (id) => roles.find(id)?.ready === true);
    const log = (level: string, text: string): void => this.#run.trace(() => `  ${this.name} ${level}: ${text}`);
    const policy = readHostPolicy({});
    const host: Host = {
      ...parts,
      policy: () => Promise.resolve(policy),
      roles,
      observer: new Observer(parts.containers, new Counter(this.db, 'seq')),
      facts: () => timeline.sleep(5, process).then(() => FACTS),
      log,
    };
    process.host = host;
    const journal = new Journal(this.db, () => this.#wallClock());
    const connectorParts: ConnectorParts = {
      host,
      journal: build.journal?.(journal) ?? journal,
      spool: new Spool(this.db),
      stateDir: STATE_DIR,
      disk,
      boot: `boot-${this.machinery.boot}`,
      record,
      dialler: (identity) => this.#dialler(process, identity),
      world: {
        now: () => timeline.now,
        random: chance.random,
        schedule: (ms, task) => timeline.after(ms, task, process),
      },
      wallClock: () => this.#wallClock(),
      newId: chance.uuid,
      status: () => {},
      giveUp: () => this.kill(),
      executors: (own) => this.#watched(own, process),
    };
    const connector = await openConnector(connectorParts);
    process.connector = connector;
    begin(connector, connectorParts).catch((error: unknown) => log('error', `after the boot: ${messageOf(error)}`));
  }

  #wallClock(): number {
    return Math.floor(this.#edge.wallClock + this.#skew);
  }

  /** Dials as dial.ts does, over the gateway of the run. */
  #dialler(process: Process, identity: () => HostRecord): Dial {
    return async (listener, signal) => {
      const { secret } = identity();
      const answer = await this.#edge.http('POST', `/1.0/fleet/hosts/${this.id}/nonce`, {}, { site: this, process });
      if (answer?.status !== 200) throw new FairleadError('unavailable', answer?.error ?? 'no nonce');
      signal.throwIfAborted();
      const { nonce } = answer.metadata as { nonce: string };
      const isec = createHash('sha256').update(secret.value).digest('hex');
      const claims = { iss: `host:${this.id}`, aud: 'fl:ws', nonce, jti: 'j', gen: secret.generation, isec, boot: 'b' };
      return this.#edge.gateway.open(this, process, this.#key.sign('fl-host+jwt', claims), listener);
    };
  }

  /** Looks over the executors' shoulders: I6, and that nothing old is done after something new. */
  #watched(own: Executors, process: Process): Executors {
    const watch = (kind: CommandKind) => async (cmd: HostCommand, context: Context, host: Host) => {
      const execute = own[kind] as (cmd: HostCommand, context: Context, host: Host) => ReturnType<Executors['state']>;
      const instance = 'instance' in cmd ? cmd.instance.id : 'id' in cmd ? cmd.id : '';
      this.#begin(context.id, kind, instance);
      const { acting } = this.machinery;
      acting.set(instance, (acting.get(instance) ?? 0) + 1);
      try {
        return await execute(cmd, context, host);
      } finally {
        const left = (acting.get(instance) ?? 1) - 1;
        if (!process.alive || left <= 0) acting.delete(instance);
        else acting.set(instance, left);
      }
    };
    const kinds = Object.keys(own) as CommandKind[];
    const watched = kinds.map((kind) => [kind, READ_ONLY.has(kind) ? own[kind] : watch(kind)]);
    return Object.fromEntries(watched) as Executors;
  }

  #begin(command: string, kind: CommandKind, instance: string): void {
    const times = (this.#acted.get(command) ?? 0) + 1;
    this.#acted.set(command, times);
    this.#run.trace(() => `  ${this.name} does ${kind} ${command}`);
    if (times > 1) this.#run.violated('I6 at most once', `${kind} ${command} acted ${times} times on ${this.name}`);
    if (kind === 'exec') return;
    const order = this.orderOf(command) ?? Infinity;
    const newest = this.#newest.get(instance) ?? 0;
    if (order < newest)
      this.#run.violated('nothing stale is done', `${kind} ${command} after a newer command for ${instance}`);
    this.#newest.set(instance, Math.max(order, newest));
  }
}
