import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readHostPolicy, type HostPolicy } from '#shared/config/policy.ts';
import type { HostFacts, InstanceSpec, InstanceStatus } from '#shared/link/commands.ts';
import type { UpFrame } from '#shared/link/frames.ts';
import { Counter, openDatabase } from '../database.ts';
import { hostPaths } from '../host/paths.ts';
import type { LinkLine } from '../link/connection.ts';
import { Spool } from '../link/spool.ts';
import { Asks } from './asks.ts';
import { consoleLog } from './console-log.ts';
import { create } from './create.ts';
import { remove } from './delete.ts';
import { Dispatcher } from './dispatch.ts';
import { facts } from './facts.ts';
import type { Host } from './host.ts';
import { Journal } from './journal.ts';
import { measure } from './measure.ts';
import { NO_MOVES } from './moves/executors.ts';
import { Observer } from './observer.ts';
import { Roles } from './roles.ts';
import { state } from './state.ts';
import { update } from './update.ts';

/** What a host without LXC is like in a test: instances are entries of a map; files, journal and spool are real. */
export interface FakeHost {
  readonly host: Host;
  readonly journal: Journal;
  readonly spool: Spool;
  readonly dispatcher: Dispatcher;
  readonly line: LinkLine;
  /** What was done to instances, in order. */
  readonly acts: string[];
  readonly sent: UpFrame[];
  readonly power: Map<string, InstanceStatus>;
  readonly disks: Set<string>;
  /** Throws in the act of that name, once. */
  fail: { at: string; error: Error } | undefined;
  /** Holds the act of that name until released. */
  hold: { at: string; until: Promise<void> } | undefined;
  policy: HostPolicy;
  now: number;
  /** The process dies: nothing is finished. What comes back is the next process on the same disk. */
  crash(): Promise<FakeHost>;
  close(): Promise<void>;
}

/** A fake host on a temporary folder. */
export async function fakeHost(): Promise<FakeHost> {
  const stateDir = await mkdtemp(join(tmpdir(), 'fl-'));
  return onDisk(stateDir, { power: new Map(), disks: new Set(), acts: [] });
}

interface Machine {
  readonly power: Map<string, InstanceStatus>;
  readonly disks: Set<string>;
  readonly acts: string[];
}

async function onDisk(stateDir: string, machine: Machine): Promise<FakeHost> {
  const { power, disks, acts } = machine;
  const db = openDatabase(stateDir);
  const sent: UpFrame[] = [];
  let crashed = false;
  const act = async (name: string, spec: string): Promise<void> => {
    acts.push(`${name} ${spec}`);
    if (fake.hold?.at === name) await fake.hold.until;
    if (crashed) await new Promise(() => {});
    if (fake.fail?.at !== name) return;
    const { error } = fake.fail;
    fake.fail = undefined;
    throw error;
  };
  const status = (id: string): InstanceStatus => power.get(id) ?? 'Stopped';
  const containers: Host['containers'] = {
    start: async ({ id, name }) => {
      await act('start', name);
      power.set(id, 'Running');
    },
    stop: async ({ id, name }) => {
      await act('stop', name);
      power.delete(id);
    },
    freeze: async (id) => void power.set(id, 'Frozen'),
    unfreeze: async (id) => void power.set(id, 'Running'),
    update: (_before, after) => act('update', after.name),
    forget: (spec) => act('forget', spec.name),
    status: (id) => Promise.resolve(status(id)),
    running: () => Promise.resolve(new Set(power.keys())),
    measure: ({ id }) => Promise.resolve({ ...NOTHING, status: status(id) }),
    consoleLog: () => Promise.resolve('login:'),
    attach: () => Promise.reject(new Error('no attach here')),
  };
  const journal = new Journal(db, () => fake.now);
  const spool = new Spool(db);
  const roles = await Roles.open(hostPaths(stateDir));
  const host: Host = {
    policy: () => Promise.resolve(fake.policy),
    roles,
    images: {
      ensure: async (fingerprint, locate, progress) => {
        await act('image', fingerprint.slice(0, 4));
        progress(50, 100);
        await locate();
      },
    },
    disks: {
      create: async ({ id, name }) => {
        await act('disk', name);
        disks.add(id);
      },
      remove: async (id) => {
        acts.push('erase');
        disks.delete(id);
      },
    },
    containers,
    observer: new Observer(containers, new Counter(db, 'seq')),
    facts: () => Promise.resolve({ hostname: 'fake' } as HostFacts),
    log: () => {},
  };
  const line: LinkLine = { id: 1, send: (frame) => void sent.push(frame) };
  const asks = new Asks(
    (frame) => {
      sent.push(frame);
      if (frame.t !== 'ask') return;
      const part = { url: 'https://x/1', length: 1, sha256: 'a'.repeat(64) };
      queueMicrotask(() => asks.answer({ t: 'answer', id: frame.id, parts: [part], total: 1 }));
    },
    { schedule: () => () => {} },
    () => crypto.randomUUID(),
  );
  const executors = {
    create,
    state,
    update,
    delete: remove,
    exec: never,
    measure,
    'console-log': consoleLog,
    facts,
    ...NO_MOVES,
  };
  const parts = { host, journal, spool, pump: { more: () => {} }, asks, executors };
  const dispatcher = new Dispatcher({ ...parts, send: (frame) => line.send(frame), cloudNow: () => fake.now });
  const fake: FakeHost = {
    host,
    journal,
    spool,
    dispatcher,
    line,
    acts,
    sent,
    power,
    disks,
    fail: undefined,
    hold: undefined,
    policy: readHostPolicy({}),
    now: 1_000,
    crash: () => {
      crashed = true;
      db.close();
      return onDisk(stateDir, machine);
    },
    close: async () => {
      db.close();
      await rm(stateDir, { recursive: true });
    },
  };
  return fake;
}

/** An instance's specification. */
export function specOf(change: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    id: crypto.randomUUID(),
    name: 'c1',
    project: 'default',
    epoch: 1,
    architecture: 'x86_64',
    config: {},
    devices: {},
    image: { fingerprint: 'f'.repeat(64), size: 1 },
    ...change,
  };
}

const NOTHING = {
  pid: 0,
  processes: 0,
  cpu: { usage: 0 },
  memory: { usage: 0, usage_peak: 0, total: 0, swap_usage: 0, swap_usage_peak: 0 },
  disk: {},
  network: {},
};

const never = (): Promise<never> => Promise.reject(new Error('no exec here'));
