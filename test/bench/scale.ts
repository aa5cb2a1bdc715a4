/** A fleet of thousands against one embedded control plane: it is killed, and everybody comes back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { InstanceSpec } from '#shared/link/commands.ts';
import { BACKOFF_MIN_MS } from '#shared/link/limits.ts';
import type { ControlPlane } from '../../cli/client/http.ts';
import type { InstanceRecord } from '../../functions/domain/instances/instance.ts';
import type { Dial } from '../../host-connector/link/dial.ts';
import { clientOf } from './client.ts';
import { ControlPlaneProcess } from './control-plane.ts';
import { fillInstances, withRecords } from './fill.ts';
import { listing } from './listing.ts';
import { enrolHost, SimulatedHost, type Identity } from './simulated-host.ts';
import { shown, type Row } from './table.ts';

const HOSTS = 2000;
const HOSTS_WITH_INSTANCES = 500;
const INSTANCES = 10_000;
const ENROL_AT_ONCE = 8;
const GIVE_UP_MS = 300_000;
const POLL_MS = 20;
/** Timers of node fire a little early, and the end of an attempt is seen a little late. */
const TIMER_SLACK_MS = 10;
/** Hosts are started in groups, as a fleet grows; the storm comes with the kill. */
const START_AT_ONCE = 50;

/** Times of one host's attempts: when each began, and how long after the end of the one before. */
class Attempts {
  count = 0;
  shortestPause = Infinity;
  #endedAt = -Infinity;

  /** A dial that is written down. An attempt is over when the link gives it up, however late its socket says so. */
  watch(dial: Dial): Dial {
    return async (listener, signal) => {
      this.count += 1;
      this.shortestPause = Math.min(this.shortestPause, performance.now() - this.#endedAt);
      signal.addEventListener('abort', () => (this.#endedAt = performance.now()), { once: true });
      return dial(listener, signal);
    };
  }
}

/** The storm after a kill, and the listing of a large fleet. */
export async function benchScale(): Promise<Row[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'));
  const say = (text: string) => process.stderr.write(`${text}\n`);
  try {
    await using control = await ControlPlaneProcess.start(dataDir);
    let api = await clientOf(dataDir);
    const identities = await enrolAll(api);
    say(`${HOSTS} hosts enrolled`);
    api.close();
    await control.stop();
    const instances = await fill(dataDir, identities.slice(0, HOSTS_WITH_INSTANCES));
    await control.start();
    api = await clientOf(dataDir);

    const attempts = identities.map(() => new Attempts());
    const hosts: SimulatedHost[] = [];
    const first = performance.now();
    for (const [at, identity] of identities.entries()) {
      const holds = (instances.get(identity.record.hostId) ?? []).map(specOf);
      hosts.push(await SimulatedHost.start(identity, { holds, dialled: (dial) => attempts[at]!.watch(dial) }));
      if (at % START_AT_ONCE === 0) await sleep(POLL_MS);
    }
    await allLinked(hosts);
    say(
      `all linked after ${shown((performance.now() - first) / 1000)} s; ${attempts.reduce((sum, { count }) => sum + count, 0)} dials`,
    );
    await sleep(5000);
    const { rss } = await control.memory();

    await control.stop('SIGKILL');
    const dialled = attempts.reduce((sum, { count }) => sum + count, 0);
    const killed = performance.now();
    await control.start();
    const ready = performance.now();
    const progress = await allLinked(hosts);
    const back = performance.now();
    say(`linked by second: ${progress.join(' ')}`);
    const dials = attempts.reduce((sum, { count }) => sum + count, 0) - dialled;
    await settled(api);
    const rows: Row[] = [
      {
        what: `${HOSTS} hosts back after the control plane was killed`,
        bar: 60,
        unit: 's',
        measured: (back - killed) / 1000,
        note: `ready again after ${shown((ready - killed) / 1000)} s; ${shown(dials / HOSTS)} dials a host`,
      },
      {
        what: 'shortest pause before a dial',
        bar: BACKOFF_MIN_MS - TIMER_SLACK_MS,
        atLeast: true,
        unit: 'ms',
        measured: Math.min(...attempts.map(({ shortestPause }) => shortestPause)),
      },
      await listing(api, INSTANCES, 600, 10),
    ];
    hosts.forEach((host) => host.stop());
    api.close();
    const note = `with ${HOSTS} hosts linked`;
    return [...rows, { what: 'control plane resident', bar: 512, unit: 'MiB', measured: rss / 2 ** 20, note }];
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

async function enrolAll(api: ControlPlane): Promise<Identity[]> {
  const identities: Identity[] = [];
  const enrolSome = async () => {
    for (let at = identities.length; at < HOSTS; at = identities.length) {
      identities.length += 1;
      identities[at] = await enrolHost(api, `host${at}`);
    }
  };
  await Promise.all(Array.from({ length: ENROL_AT_ONCE }, enrolSome));
  return identities;
}

/** Instances by their host. */
async function fill(dataDir: string, owners: readonly Identity[]): Promise<Map<string, InstanceRecord[]>> {
  const byHost = new Map<string, InstanceRecord[]>();
  await withRecords(dataDir, async (records) => {
    const ids = owners.map(({ record }) => record.hostId);
    for (const instance of await fillInstances(records, ids, INSTANCES)) {
      byHost.set(instance.host, [...(byHost.get(instance.host) ?? []), instance]);
    }
  });
  return byHost;
}

function specOf({ id, name, project, epoch, architecture, config, image }: InstanceRecord): InstanceSpec {
  return { id, name, project, epoch, architecture, config, devices: {}, ...(image && { image }) };
}

/** Waits until every host has a line that serves; how many had one, by second. */
async function allLinked(hosts: readonly SimulatedHost[]): Promise<number[]> {
  const start = performance.now();
  const progress: number[] = [];
  for (;;) {
    const linked = hosts.filter((host) => host.linked).length;
    const second = Math.floor((performance.now() - start) / 1000);
    progress[second] = linked;
    if (linked === hosts.length) return progress;
    if (performance.now() - start > GIVE_UP_MS)
      throw new Error(`${linked} of ${hosts.length} hosts are back: ${progress.join(' ')}`);
    await sleep(POLL_MS);
  }
}

/** Waits until the control plane says that all hosts are online and it has time again. */
async function settled(api: ControlPlane): Promise<void> {
  for (;;) {
    const hosts = await api.get<{ status: string }[]>('/1.0/fleet/hosts', { recursion: 1 });
    if (hosts.length === HOSTS && hosts.every(({ status }) => status === 'online')) break;
    await sleep(1000);
  }
  await sleep(10_000);
}
