/** What the processes take: time until ready, resident memory, and whether it stays so. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { Socket } from '../../host-connector/link/dial.ts';
import type { Fleet } from '../lab/fleet.ts';
import { clientOf } from './client.ts';
import { ControlPlaneProcess, freePort, residentMiB, type Resident } from './control-plane.ts';
import { launch, remove } from './launch.ts';
import { enrolHost, SimulatedHost } from './simulated-host.ts';
import { repeat, shown, spread, type Row } from './table.ts';

const FAIRLEAD = fileURLToPath(new URL('../../cli/fairlead.mjs', import.meta.url));
const STARTS = 9;
const CONTAINERS = 50;
/** Idle is: nothing was asked for so long. */
const IDLE_MS = 5000;

const RECONNECTS = 10_000;
/** Hosts that reconnect side by side. */
const HOSTS = 100;
/** Reconnects after which everything that is allocated once has been. */
const SETTLED = 2000;
/** Heap that 10,000 reconnects may leave behind: 100 bytes each would be a leak. */
const FLAT_MIB = 1;
const POLL_MS = 20;

/** `fairlead up` on an empty folder, until the API answers; and what it takes then. */
export async function benchControlPlane(): Promise<Row[]> {
  let resident = 0;
  const samples = await repeat(STARTS, async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'));
    const start = performance.now();
    const args = [FAIRLEAD, '--data', dataDir, 'up', '--listen', `127.0.0.1:${await freePort()}`];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    const api = await clientOf(dataDir);
    await api.get('/1.0');
    const took = performance.now() - start;
    api.close();
    await sleep(IDLE_MS / 5);
    resident = Math.max(resident, (await residentMiB(child.pid ?? 0)).all);
    child.kill('SIGTERM');
    await once(child, 'exit');
    await rm(dataDir, { recursive: true });
    return took;
  });
  return [
    {
      what: 'control plane ready after `fairlead up`, p50',
      bar: 1500,
      unit: 'ms',
      measured: samples.p50,
      note: spread(samples),
    },
    { what: 'control plane resident, idle', bar: 160, unit: 'MiB', measured: resident },
  ];
}

/** The connector of a lab host with many containers, and the control plane that launched them. */
export async function benchConnector(fleet: Fleet): Promise<Row[]> {
  const api = await clientOf(fleet.dataDir);
  const names = Array.from({ length: CONTAINERS }, (_, at) => `idle${at}`);
  for (const name of names) await launch(api, name);
  await sleep(IDLE_MS);
  const connector = await residentMiB(await pidOf(/fairlead-connector\.mjs.run/));
  const control = await residentMiB(await pidOf(new RegExp(`${fleet.dataDir}.up`)));
  for (const name of names) await remove(api, name);
  api.close();
  return [
    {
      what: `connector resident, idle with ${CONTAINERS} containers`,
      bar: 64,
      unit: 'MiB',
      measured: connector.all,
      note: partsOf(connector),
    },
    {
      what: `control plane resident after ${CONTAINERS} launches and more`,
      bar: 160,
      unit: 'MiB',
      measured: control.all,
      note: partsOf(control),
    },
  ];
}

function partsOf({ anonymous, file }: Resident): string {
  return `${shown(anonymous)} of its own, ${shown(file)} of Node's program and libraries`;
}

/** The youngest node process with such a command line. */
async function pidOf(command: RegExp): Promise<number> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const line = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (/^[^\0]*node\0/.test(line) && command.test(line.replaceAll('\0', ' '))) found.push(Number(entry));
  }
  return Math.max(...found);
}

/** Heap of control plane and connectors over many reconnects. */
export async function benchReconnects(): Promise<Row[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'));
  try {
    await using control = await ControlPlaneProcess.start(dataDir);
    const api = await clientOf(dataDir);
    const sockets: Socket[] = [];
    const connects = { count: 0 };
    const hosts: SimulatedHost[] = [];
    for (let at = 0; at < HOSTS; at++) {
      const identity = await enrolHost(api, `host${at}`);
      const host = await SimulatedHost.start(identity, {
        dialled: (dial) => async (listener, signal) => {
          const socket = await dial(listener, signal);
          sockets[at] = socket;
          connects.count += 1;
          return socket;
        },
      });
      hosts.push(host);
    }
    const until = async (count: number) => {
      while (connects.count < count) {
        hosts.forEach((host, at) => host.linked && sockets[at]?.close());
        await sleep(POLL_MS);
      }
      while (!hosts.every((host) => host.linked)) await sleep(POLL_MS);
      await sleep(IDLE_MS);
      collectGarbage();
      return { connector: process.memoryUsage().heapUsed, control: (await control.memory()).heapUsed };
    };
    // As --expose-gc would have it, for this process.
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const before = await until(SETTLED);
    const after = await until(SETTLED + RECONNECTS);
    hosts.forEach((host) => host.stop());
    api.close();
    return (['control', 'connector'] as const).map((part) => growth(part, before[part], after[part]));
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

function growth(part: 'control' | 'connector', before: number, after: number): Row {
  const name = { control: 'control plane', connector: `${HOSTS} connectors` }[part];
  const mebibytes = (bytes: number) => bytes / 2 ** 20;
  return {
    what: `heap of the ${name}, grown over ${RECONNECTS} reconnects`,
    bar: FLAT_MIB,
    unit: 'MiB',
    measured: mebibytes(after - before),
    note: `from ${shown(mebibytes(before))} to ${shown(mebibytes(after))} MiB after garbage collection`,
  };
}
