/** Virtual hosts on one machine, each behind its own NAT router with the inbound side closed. Needs root. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '#shared/errors.ts';
import { ensureBase } from './base.ts';
import { claim, hostFolder, listLabs, removeLab, sweepLabs } from './claim.ts';
import type { LabRecord } from './claim.ts';
import { LabHost } from './host.ts';
import type { Bind } from './host.ts';
import { LabLink } from './link.ts';
import { ipBatch, loadRules, writeSettings } from './netns.ts';
import {
  CLOUD_SETTINGS,
  ROUTER_SETTINGS,
  cloudLinks,
  legLinks,
  namesOf,
  range,
  routerRules,
  uplinkLinks,
  wanCounters,
} from './network.ts';
import { readPackets } from './packets.ts';
import type { Packets } from './packets.ts';
import { must } from './run.ts';

const DEFAULT_HOSTS = 2;
const NODE_TARGET = '/usr/local/bin/node';
const NODE_MAJOR = 24;
const MAX_HOSTS = 100;

export interface LabOptions {
  /** For people; several labs may bear the same name unless they are kept. */
  name: string;
  /** Default 2. */
  hosts?: number;
  /** Files and folders of the machine that every host sees. Node is always at /usr/local/bin/node. */
  binds?: Bind[];
  /** Size of a small disk for each host's /var/lib/fairlead, such as `64M`. */
  disk?: string;
  /** The lab outlives this process, until somebody says `down`. */
  keep?: boolean;
}

export class Lab {
  readonly #record: LabRecord;
  readonly #hosts: LabHost[];

  private constructor(record: LabRecord, base: string, binds: Bind[]) {
    this.#record = record;
    this.#hosts = range(record.hosts).map(
      (index) =>
        new LabHost({
          index,
          names: namesOf(record.id),
          folder: hostFolder(record.id, index),
          base,
          binds,
          ...(record.disk !== undefined && { disk: record.disk }),
        }),
    );
  }

  /** Builds what is missing, sweeps what crashed labs left, and brings a lab up. A lab that fails half way is taken down. */
  static async up(options: LabOptions): Promise<Lab> {
    const { name, hosts = DEFAULT_HOSTS, disk, keep = false } = options;
    if (process.getuid?.() !== 0)
      throw new FairleadError('forbidden', 'The lab makes namespaces and mounts: run it as root.');
    if (hosts < 1 || hosts > MAX_HOSTS) throw new FairleadError('bad_request', `A lab has 1 to ${MAX_HOSTS} hosts.`);
    const binds = [nodeBind(), ...(options.binds ?? [])];
    const base = await ensureBase();
    await Lab.sweep();
    if (keep && (await listLabs()).some((lab) => lab.owner === null && lab.name === name)) {
      throw new FairleadError('already_exists', `A lab "${name}" is up already: take it down, or take another name.`);
    }
    const lab = new Lab(await claim({ name, hosts, keep, ...(disk !== undefined && { disk }) }), base, binds);
    try {
      await lab.#create();
    } catch (error) {
      await lab.down();
      throw error;
    }
    return lab;
  }

  /** A kept lab by its name. */
  static async open(name: string): Promise<Lab> {
    const record = (await listLabs()).find((lab) => lab.owner === null && lab.name === name);
    if (!record)
      throw new FairleadError('not_found', `There is no kept lab "${name}": see "node test/lab/main.ts list".`);
    const lab = new Lab(record, await ensureBase(), [nodeBind()]);
    await Promise.all(lab.#hosts.map((host) => host.attach()));
    return lab;
  }

  /** Removes the remains of labs whose owner has crashed; answers with their names. */
  static sweep(): Promise<string[]> {
    return sweepLabs();
  }

  /** This lab's number; its namespaces, cgroups and devices are called `fl<id>…`. */
  get id(): number {
    return this.#record.id;
  }

  /** Where the control plane listens: this machine's own leg on the lab's wan. Hosts also know it as `fairlead.lab`. */
  get address(): string {
    return namesOf(this.id).control;
  }

  /** All hosts, in order. */
  get hosts(): readonly LabHost[] {
    return this.#hosts;
  }

  /** The host with this number, from 1. */
  host(number: number): LabHost {
    const host = this.#hosts[number - 1];
    if (host) return host;
    throw new FairleadError('not_found', `The lab has hosts 1 to ${this.#hosts.length}, not ${number}.`);
  }

  /** The uplink of the host with this number, from 1. */
  link(number: number): LabLink {
    this.host(number);
    return new LabLink(namesOf(this.id), number);
  }

  /** What the counters say since the lab came up. */
  packets(): Promise<Packets> {
    return readPackets(namesOf(this.id), this.#hosts.length);
  }

  /** Ends everything inside and leaves nothing behind. May be called again. */
  async down(): Promise<void> {
    if ((await listLabs()).some((lab) => lab.id === this.id && isSame(lab, this.#record))) await removeLab(this.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async #create(): Promise<void> {
    const names = namesOf(this.id);
    await must(['ip', 'netns', 'add', names.cloud]);
    await writeSettings(names.cloud, CLOUD_SETTINGS);
    await ipBatch(names.cloud, cloudLinks(names));
    await ipBatch(undefined, legLinks(names));
    await ipBatch(names.cloud, 'link set control master wan0 up\n');
    await Promise.all(this.#hosts.map((_, at) => this.#createRouter(at + 1)));
    await loadRules(names.cloud, wanCounters(names, this.#hosts.length));
    const made = await Promise.allSettled(
      this.#hosts.map(async (host) => {
        await host.create();
        await host.boot();
      }),
    );
    // All have settled: nothing is still being made while the failed lab is taken down.
    const failed = made.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async #createRouter(host: number): Promise<void> {
    const names = namesOf(this.id);
    await must(['ip', 'netns', 'add', names.router(host)]);
    await writeSettings(names.router(host), ROUTER_SETTINGS);
    await loadRules(names.router(host), routerRules(names, host));
    await ipBatch(names.router(host), uplinkLinks(names, host));
    await ipBatch(names.cloud, `link set ${names.port(host)} master wan0 up\n`);
  }
}

function isSame(a: LabRecord, b: LabRecord): boolean {
  return a.name === b.name && a.owner?.pid === b.owner?.pid && a.owner?.started === b.owner?.started;
}

/** The node this process runs on, as every host sees it. Its folder is named so that a mistake shows at once. */
function nodeBind(): Bind {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < NODE_MAJOR) {
    const here = dirname(fileURLToPath(import.meta.url));
    throw new FairleadError(
      'unavailable',
      `The lab needs Node ${NODE_MAJOR}, and this is ${process.version}: start ${here} with node_modules/.bin/node.`,
    );
  }
  return { source: process.execPath, target: NODE_TARGET };
}
