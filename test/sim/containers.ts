import { FairleadError } from '#shared/errors.ts';
import type { InstanceStatus, Measurement } from '#shared/link/commands.ts';
import type { Containers, Disks, Host, Images } from '../../host-connector/commands/host.ts';
import type { AttachRequest, Session } from '../../host-connector/lxc/attach.ts';
import { Program } from './program.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

interface Container {
  status: InstanceStatus;
  pid: number;
  /** Boot in which it was last started. */
  boot: number;
}

const STOPPED: Container = { status: 'Stopped', pid: 0, boot: 0 };

/** What LXC and storage hold on a host. It outlives the connector; running containers end with the host's boot. */
export class Machinery {
  readonly #run: Run;
  readonly containers = new Map<string, Container>();
  readonly disks = new Set<string>();
  readonly programs = new Map<string, { readonly instance: string; readonly program: Program }>();
  boot = 1;
  isFull = false;
  /** Whether the disk was full since the boot. */
  wasFull = false;
  /** Instances that a command acts on just now. */
  readonly acting = new Map<string, number>();
  /** Told when a container changed, as lxc-monitor does. */
  changed: (id: string) => void = () => {};
  #pids = 100;

  constructor(run: Run) {
    this.#run = run;
  }

  status(id: string): InstanceStatus {
    return this.containers.get(id)?.status ?? 'Stopped';
  }

  /** A container ends by itself. */
  guestStops(id: string): void {
    if (this.status(id) === 'Stopped') return;
    this.#run.trace(() => `  container ${short(id)} shuts down by itself`);
    this.#set(id, STOPPED);
  }

  /** Power is lost. */
  reboot(): void {
    this.boot += 1;
    this.wasFull = this.isFull;
    for (const { program } of this.programs.values()) program.end(137);
    this.containers.clear();
  }

  /** What a connector process does to containers. What lxc began goes on when the connector dies, mostly. */
  of(process: Mortal, ready: (id: string) => boolean): Pick<Host, 'containers' | 'disks' | 'images'> {
    const act = <T>(what: string, ms: number, effect: () => T): Promise<T> => {
      const { timeline, nemesis, trace } = this.#run;
      const { boot } = this;
      const survives = nemesis.coin();
      return new Promise((resolve, reject) => {
        timeline.after(ms, () => {
          if (boot !== this.boot || (!process.alive && !survives)) return;
          try {
            if (nemesis.does('failAct')) throw new FairleadError('host_failed', `${what} did not work.`);
            const result = effect();
            trace(() => `  ${what}${process.alive ? '' : ' (its connector is dead)'}`);
            if (process.alive) resolve(result);
          } catch (error) {
            trace(() => `  ${what} failed: ${(error as Error).message}`);
            if (process.alive) reject(error);
          }
        });
      });
    };
    const look = <T>(effect: () => T): Promise<T> => this.#run.timeline.sleep(1, process).then(effect);
    const { chance } = this.#run;
    const containers: Containers = {
      start: (spec) => {
        // A boot that a full disk kept from being noted is one more boot to the next connector.
        this.#mustBeWanted(spec.id, 'start', this.wasFull || this.containers.get(spec.id)?.boot !== this.boot);
        return act(`start ${spec.name}`, chance.between(20, 800), () => this.#start(spec.id));
      },
      stop: (spec, { force, timeoutSeconds }) => {
        this.#mustBeWanted(spec.id, 'stop', !ready(spec.id));
        const ignored = !force && this.status(spec.id) !== 'Stopped' && chance.is(0.05);
        const ms = ignored ? timeoutSeconds * 1000 : chance.between(10, force ? 50 : 2000);
        return act(`stop ${spec.name}`, ms, () => {
          if (ignored && this.status(spec.id) !== 'Stopped') throw new FairleadError('timed_out', 'It did not stop.');
          this.#set(spec.id, STOPPED);
        });
      },
      freeze: (id) => act(`freeze ${short(id)}`, 20, () => this.#turn(id, 'Running', 'Frozen')),
      unfreeze: (id) => act(`unfreeze ${short(id)}`, 20, () => this.#turn(id, 'Frozen', 'Running')),
      update: (_before, after) => act(`update ${after.name}`, 10, () => {}),
      forget: (spec) => act(`forget ${spec.name}`, 5, () => {}),
      status: (id) => look(() => this.status(id)),
      running: () => look(() => new Set([...this.containers.keys()].filter((id) => this.status(id) !== 'Stopped'))),
      measure: ({ id }) => look(() => this.#measure(id)),
      consoleLog: () => look(() => 'login:'),
      attach: (spec, request) => act(`attach ${spec.name}`, 20, () => this.#attach(spec.id, request, process)),
    };
    const disks: Disks = {
      create: ({ id, name }) => act(`disk of ${name}`, chance.between(10, 300), () => this.#makeDisk(id)),
      remove: (id) => act(`no disk of ${short(id)}`, 30, () => void this.disks.delete(id)),
    };
    const images: Images = {
      ensure: async (_fingerprint, locate, progress) => {
        progress(0, 100);
        await locate();
        await act('image', chance.between(100, 5000), () => {});
      },
    };
    return { containers, disks, images };
  }

  #start(id: string): void {
    if (this.status(id) !== 'Stopped') throw new FairleadError('host_failed', 'It is already running.');
    if (!this.disks.has(id)) throw new FairleadError('host_failed', 'It has no root filesystem.');
    this.#set(id, { status: 'Running', pid: ++this.#pids, boot: this.boot });
  }

  #turn(id: string, from: InstanceStatus, to: InstanceStatus): void {
    const container = this.containers.get(id);
    if (container?.status !== from) throw new FairleadError('host_failed', `It is not ${from.toLowerCase()}.`);
    this.#set(id, { ...container, status: to });
  }

  #makeDisk(id: string): void {
    if (this.isFull) throw new FairleadError('disk_full', 'The disk is full.');
    this.disks.add(id);
  }

  #set(id: string, next: Container): void {
    const boot = Math.max(next.boot, this.containers.get(id)?.boot ?? 0);
    this.containers.set(id, { ...next, boot });
    if (next.status === 'Stopped') {
      for (const running of this.programs.values()) if (running.instance === id) running.program.end(137);
    }
    this.#run.timeline.after(5, () => this.changed(id));
  }

  /** I10: nobody touches a container but a command for it, the start after a boot, and who clears away what is half made. */
  #mustBeWanted(id: string, what: string, otherwise: boolean): void {
    if (otherwise || this.acting.has(id)) return;
    this.#run.violated('I10 containers are left alone', `${what} of ${id} without a command for it`);
  }

  #attach(id: string, { command }: AttachRequest, process: Mortal): Session {
    if (this.status(id) !== 'Running') throw new FairleadError('host_failed', 'It is not running.');
    const [key = '', greeting = ''] = command;
    if (this.programs.has(key)) this.#run.violated('I6 at most once', `the command of exec ${key} runs twice`);
    const program = new Program(this.#run, process, greeting);
    this.programs.set(key, { instance: id, program });
    return program.session;
  }

  #measure(id: string): Measurement {
    const { status, pid } = this.containers.get(id) ?? STOPPED;
    const memory = { usage: 1, usage_peak: 1, total: 1, swap_usage: 0, swap_usage_peak: 0 };
    return { status, pid, processes: pid > 0 ? 1 : 0, cpu: { usage: 1 }, memory, disk: {}, network: {} };
  }
}

/** An id short enough for a trace. */
export function short(id: string): string {
  return id.slice(0, 6);
}
