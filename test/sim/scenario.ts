import { decodeJoinToken } from '#shared/link/join-token.ts';
import { createApiToken, createUser } from '../../functions/domain/trust/users.ts';
import { Chance } from './chance.ts';
import { withoutThreads } from './crypto.ts';
import { Edge } from './edge.ts';
import { Machine } from './machine.ts';
import { Nemesis } from './nemesis.ts';
import { checkQuiet } from './quiet.ts';
import { Violation, type Build, type Run } from './run.ts';
import { Timeline } from './timeline.ts';
import { Users } from './users.ts';
import { Watcher } from './watcher.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const SWEEP_MS = 60_000;
/** In a long gap the sweep comes less often, so many times in all. */
const IDLE_SWEEPS = 12;
/** After the faults have stopped everything must have ended after this long. */
const QUIET_MS = 12 * MINUTE_MS;
/** What happens at most in a run that still ends in reasonable time. */
const MAX_HAPPENINGS = 200_000;

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Virtual milliseconds, and how much happened in them. */
  readonly time: number;
  readonly happened: number;
  /** A digest of all that happened: the same seed, the same digest. */
  readonly digest: number;
}

export interface Options {
  readonly build?: Build;
  /** Gets each line of the trace. */
  readonly trace?: (line: string) => void;
}

/** One run: a fleet, users and faults, all drawn from the seed. */
export async function simulate(seed: number, { build = {}, trace }: Options = {}): Promise<Outcome> {
  const timeline = new Timeline();
  const chance = new Chance(seed);
  let violation: Violation | undefined;
  let digest = 0;
  const run: Run = {
    seed,
    chance,
    timeline,
    build,
    nemesis: new Nemesis(chance.fork()),
    secrets: new Set(),
    trace: (line) => trace?.(`${clock(timeline.now)}  ${line()}`),
    violated: (invariant, what) => {
      violation ??= new Violation(invariant, what);
      trace?.(`${clock(timeline.now)}  !!! ${invariant}: ${what}`);
    },
  };
  const checked = (): void => {
    digest = (Math.imul(digest, 31) + Math.round(timeline.now)) | 0;
    if (violation) throw violation;
    if (timeline.happened > MAX_HAPPENINGS) throw new Violation('a run ends', 'far too much happens');
  };
  const restore = withoutThreads();
  const { stackTraceLimit } = Error;
  // Where an error was made nobody asks but who reads a trace; making that out takes time.
  if (!trace) Error.stackTraceLimit = 0;
  try {
    await new Scenario(run, checked).play();
  } catch (error) {
    // What is thrown into an event loop ends a process.
    violation =
      error instanceof Violation ? error : new Violation('nothing crashes', (error as Error).stack ?? String(error));
    if (!(error instanceof Violation)) run.trace(() => String(violation));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    restore();
  }
  return { seed, violation, time: timeline.now, happened: timeline.happened, digest };
}

class Scenario {
  readonly #run: Run;
  readonly #checked: () => void;
  readonly #edge: Edge;
  readonly #machines: readonly Machine[];
  readonly #users: Users;
  readonly #watcher: Watcher;
  #sweepMs = SWEEP_MS;
  #absentUntil = 0;

  constructor(run: Run, checked: () => void) {
    this.#run = run;
    this.#checked = checked;
    this.#edge = new Edge(run);
    const watcher = new Watcher(run, this.#edge);
    this.#watcher = watcher;
    this.#machines = Array.from(
      { length: run.chance.between(1, 3) },
      (_, at) => new Machine(run, this.#edge, `h${at + 1}`),
    );
    for (const machine of this.#machines) machine.orderOf = (command) => watcher.orderOf(command);
    this.#users = new Users(run, this.#edge, this.#machines, watcher);
  }

  async play(): Promise<void> {
    const { nemesis, chance, trace } = this.#run;
    const goOn = nemesis.rest();
    await this.#during(this.#setUp());
    for (const machine of this.#machines) machine.start();
    await this.#pass(2000);
    for (const machine of this.#machines) await this.#during(this.#users.launch('c1', machine));
    await this.#pass(chance.between(10, 10_000));
    goOn();
    trace(() => `# faults: ${nemesis.summary}`);
    this.#sweep();
    const steps = chance.between(15, 50);
    for (let step = 0; step < steps; step++) {
      if (chance.is(0.7)) for (let more = chance.between(1, 3); more > 0; more--) this.#users.act();
      else await this.#pass(this.#trouble());
      await this.#pass(Math.max(this.#pause(), this.#absentUntil - this.#run.timeline.now));
    }
    nemesis.rest();
    this.#heal();
    await this.#pass(QUIET_MS);
    checkQuiet(this.#run, this.#edge, this.#machines, this.#watcher.unsure);
    this.#checked();
  }

  async #setUp(): Promise<void> {
    const edge = this.#edge;
    const ports = edge.ports();
    await createUser(ports, undefined, 'ada', 'fleet-admin');
    edge.token = (await createApiToken(ports, undefined, 'ada', { description: '', days: 90 })).token;
    this.#run.secrets.add(edge.token.slice(-64));
    for (const machine of this.#machines) {
      const answer = await edge.http('POST', '/1.0/fleet/join-tokens', { ttl: 3600 });
      const { i, s } = decodeJoinToken((answer!.metadata as { token: string }).token);
      this.#run.secrets.add(s);
      await machine.enrol({ id: i, secret: s });
    }
    this.#users.addImage();
    this.#listen();
  }

  /** Somebody listens to events, so that what is published can be checked. */
  #listen(): void {
    const site = { name: 'listener', partitioned: false };
    const again = (): void => void this.#run.timeline.after(this.#sweepMs / 5, () => this.#listen());
    const listener = { text: () => {}, closed: again };
    this.#edge.gateway.open(site, { alive: true }, this.#edge.token, listener, '/1.0/events').catch(again);
  }

  #sweep(): void {
    this.#edge.job({ kind: 'sweep' });
    this.#run.timeline.after(this.#sweepMs, () => this.#sweep());
  }

  /** How long until something happens again: moments mostly, sometimes longer. */
  #pause(): number {
    const { chance } = this.#run;
    if (chance.is(0.7)) return chance.between(1, 2000);
    return chance.is(0.8) ? chance.between(2000, 20_000) : chance.between(20_000, 3 * MINUTE_MS);
  }

  /** Something breaks; returns how long the run should look at it before anything else is done. */
  #trouble(): number {
    const { chance, timeline, trace } = this.#run;
    const machine = chance.pick(this.#machines);
    const site = chance.is(0.2) ? (this.#users.clients.at(-1) ?? machine) : machine;
    const kinds = [
      () => this.#edge.gateway.cut(site),
      () => {
        site.partitioned = true;
        const ms = chance.between(1000, 3 * MINUTE_MS);
        trace(() => `@ ${site.name} is cut off for ${ms} ms`);
        timeline.after(ms, () => (site.partitioned = false));
      },
      () => machine.kill(),
      () => machine.kill(),
      () => machine.reboot(chance.between(5000, 60_000)),
      () => {
        machine.fill(true);
        timeline.after(chance.between(1000, 2 * MINUTE_MS), () => machine.fill(false));
      },
      () => void this.#edge.restart(chance.between(500, 30_000)),
    ];
    if (chance.is(0.05)) {
      for (let more = chance.between(0, 3); more > 0; more--) this.#users.act();
      timeline.after(chance.between(0, 500), () => this.#longAbsence(machine));
      return 500;
    }
    chance.pick(kinds)();
    return 0;
  }

  /** A host is away for hours, days or a week; users go on. */
  #longAbsence(machine: Machine): void {
    const { chance, trace, timeline } = this.#run;
    const ms = chance.pick([HOUR_MS, HOUR_MS, 5 * HOUR_MS, 26 * HOUR_MS, 7 * 24 * HOUR_MS]);
    trace(() => `@ ${machine.name} is away for ${ms / HOUR_MS} h`);
    // A week of vain attempts to dial would show no more than an hour of them.
    if (ms < 10 * HOUR_MS && chance.is(0.5)) machine.partitioned = true;
    else machine.reboot(ms);
    for (let more = chance.between(0, 3); more > 0; more--) this.#users.act();
    this.#sweepMs = ms / IDLE_SWEEPS;
    // Those that stay would make a week of heartbeats; they are switched off as well.
    if (ms > 10 * HOUR_MS) for (const other of this.#machines) if (other !== machine) other.reboot(ms);
    timeline.after(ms, () => {
      machine.partitioned = false;
      this.#sweepMs = SWEEP_MS;
    });
    this.#absentUntil = timeline.now + ms;
  }

  #heal(): void {
    this.#run.trace(() => '# the faults stop');
    for (const machine of this.#machines) {
      machine.partitioned = false;
      machine.fill(false);
      machine.start();
    }
    for (const client of this.#users.clients) client.partitioned = false;
  }

  #pass(ms: number): Promise<void> {
    return this.#run.timeline.run(ms, this.#checked);
  }

  /** Lets time pass until something is done. */
  async #during(work: Promise<void>): Promise<void> {
    const end: { done: boolean; failure?: Error } = { done: false };
    work.then(
      () => (end.done = true),
      (failure: Error) => Object.assign(end, { done: true, failure }),
    );
    while (!end.done) await this.#pass(100);
    if (end.failure) throw end.failure;
  }
}

/** Virtual time as days, hours, minutes, seconds. */
function clock(ms: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  const days = Math.floor(ms / (24 * HOUR_MS));
  const day = days > 0 ? `${days}d ` : '';
  return `${day}${two((ms / HOUR_MS) % 24)}:${two((ms / MINUTE_MS) % 60)}:${two((ms / 1000) % 60)}.${String(Math.floor(ms % 1000)).padStart(3, '0')}`;
}
