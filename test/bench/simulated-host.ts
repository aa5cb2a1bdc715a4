/** A connector as it is — link, spool, journal, commands — on a host without containers: those are entries of a map. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { readHostPolicy } from '#shared/config/policy.ts';
import type { InstanceSpec, InstanceStatus } from '#shared/link/commands.ts';
import type { ControlPlane } from '../../cli/client/http.ts';
import type { Host } from '../../host-connector/commands/host.ts';
import { Journal } from '../../host-connector/commands/journal.ts';
import { Observer } from '../../host-connector/commands/observer.ts';
import { Roles } from '../../host-connector/commands/roles.ts';
import { openConnector, run, type Connector } from '../../host-connector/connector.ts';
import { Counter, ensureSchema } from '../../host-connector/database.ts';
import { hostPaths } from '../../host-connector/host/paths.ts';
import { enrol } from '../../host-connector/identity/enrol.ts';
import { loadKey, type HostKey } from '../../host-connector/identity/key.ts';
import type { HostRecord } from '../../host-connector/identity/record.ts';
import { dialler, type Dial } from '../../host-connector/link/dial.ts';
import { Spool } from '../../host-connector/link/spool.ts';
import { realWorld } from '../../host-connector/world.ts';
import { FACTS, measured } from '../fake-host.ts';
import { memoryDisk } from './memory-disk.ts';

const STATE_DIR = '/simulated';

export interface Identity {
  readonly key: HostKey;
  readonly record: HostRecord;
}

export interface SimulatedOptions {
  /** What it holds from the beginning, running. */
  readonly holds?: readonly InstanceSpec[];
  /** Stands for a command that runs inside an instance. */
  readonly attach?: Host['containers']['attach'];
  /** Stands between the link and its sockets. */
  readonly dialled?: (dial: Dial) => Dial;
}

/** Enrols a host with a join token, as `fairlead-connector join` does. */
export async function enrolHost(api: ControlPlane, name: string): Promise<Identity> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-simulated-'));
  try {
    const { token } = await api.send<{ token: string }>('POST', '/1.0/fleet/join-tokens', { body: {} });
    const record = await enrol({ stateDir: folder, token, name, facts: FACTS });
    const key = await loadKey(folder);
    if (key === undefined) throw new Error('the key was not kept');
    return { key, record };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export class SimulatedHost {
  readonly #connector: Connector;
  readonly #db: DatabaseSync;

  private constructor(connector: Connector, db: DatabaseSync) {
    this.#connector = connector;
    this.#db = db;
  }

  /** Starts a host that has been enrolled; it dials at once. */
  static async start({ key, record }: Identity, options: SimulatedOptions = {}): Promise<SimulatedHost> {
    const db = new DatabaseSync(':memory:');
    ensureSchema(db, 'journal');
    const disk = memoryDisk();
    const host = await simulated(db, disk, options);
    const { dialled = (dial) => dial } = options;
    const parts = {
      host,
      journal: new Journal(db, () => Date.now()),
      spool: new Spool(db),
      stateDir: STATE_DIR,
      disk,
      boot: randomUUID(),
      record,
      dialler: (identity: () => HostRecord) => dialled(dialler(identity, key, 'boot')),
      world: realWorld,
      wallClock: () => Date.now(),
      newId: randomUUID,
      status: () => undefined,
      giveUp: () => undefined,
    };
    const connector = await openConnector(parts);
    await run(connector, parts);
    return new SimulatedHost(connector, db);
  }

  /** True while a line serves. */
  get linked(): boolean {
    return this.#connector.connection.line !== undefined;
  }

  /** Hangs up for good. */
  stop(): void {
    this.#connector.connection.stop();
    this.#db.close();
  }
}

async function simulated(
  db: DatabaseSync,
  disk: ReturnType<typeof memoryDisk>,
  { holds = [], attach = () => Promise.reject(new Error('nothing runs here')) }: SimulatedOptions,
): Promise<Host> {
  const power = new Map<string, InstanceStatus>(holds.map(({ id }) => [id, 'Running']));
  const status = (id: string): InstanceStatus => power.get(id) ?? 'Stopped';
  const set = (id: string, to: InstanceStatus) => Promise.resolve(void power.set(id, to));
  const containers: Host['containers'] = {
    start: ({ id }) => set(id, 'Running'),
    stop: ({ id }) => set(id, 'Stopped'),
    freeze: (id) => set(id, 'Frozen'),
    unfreeze: (id) => set(id, 'Running'),
    update: () => Promise.resolve(),
    forget: () => Promise.resolve(),
    status: (id) => Promise.resolve(status(id)),
    running: () => Promise.resolve(new Set(power.keys())),
    measure: ({ id }) => Promise.resolve(measured(status(id))),
    consoleLog: () => Promise.resolve(''),
    attach,
  };
  const roles = await Roles.open(hostPaths(STATE_DIR), disk);
  for (const spec of holds) {
    await roles.add(spec);
    await roles.change(spec.id, { ready: true, power: 'on' });
  }
  return {
    policy: () => Promise.resolve(readHostPolicy({})),
    roles,
    images: { ensure: () => Promise.resolve() },
    disks: { create: () => Promise.resolve(), remove: () => Promise.resolve() },
    containers,
    observer: new Observer(containers, new Counter(db, 'seq')),
    facts: () => Promise.resolve(FACTS),
    log: () => undefined,
  };
}
