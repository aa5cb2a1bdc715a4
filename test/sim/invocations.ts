import { AsyncLocalStorage } from 'node:async_hooks';

import { FairleadError } from '#shared/errors.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

/** One call of a function. Killed, it goes no further than the port it waits at. */
class Invocation implements Mortal {
  readonly what: string;
  /** Its machine's clock is a little off. */
  readonly skew: number;
  alive = true;
  readonly killed: Promise<never>;
  #reject!: (error: Error) => void;

  constructor(what: string, skew: number) {
    this.what = what;
    this.skew = skew;
    this.killed = new Promise((_, reject) => (this.#reject = reject));
    this.killed.catch(() => {});
  }

  kill(): void {
    this.alive = false;
    this.#reject(new Killed(this.what));
  }
}

/** What the gateway learns of an invocation that died. */
export class Killed extends Error {
  constructor(what: string) {
    super(`${what} was killed`);
    this.name = 'Killed';
  }
}

const MAX_SKEW_MS = 50;

/** The function calls that are under way, and the ports as each of them sees them. */
export class Invocations {
  readonly #run: Run;
  readonly #current = new AsyncLocalStorage<Invocation>();
  readonly #live = new Set<Invocation>();

  constructor(run: Run) {
    this.#run = run;
  }

  /** Calls a function as an invocation of its own. @throws Killed when it died on the way */
  async invoke<T>(what: string, call: () => Promise<T>): Promise<T> {
    const invocation = new Invocation(what, this.#run.chance.between(-MAX_SKEW_MS, MAX_SKEW_MS));
    this.#live.add(invocation);
    try {
      return await Promise.race([this.#current.run(invocation, call), invocation.killed]);
    } finally {
      this.#live.delete(invocation);
    }
  }

  /** All that is under way dies: the process that ran it did. */
  killAll(): void {
    for (const invocation of this.#live) invocation.kill();
  }

  /** The skew of whoever calls now. */
  get skew(): number {
    return this.#current.getStore()?.skew ?? 0;
  }

  /** Whoever calls now. */
  get caller(): Mortal | undefined {
    return this.#current.getStore();
  }

  /** One call of a port: takes a moment, may be throttled, and the invocation may die before or after it. */
  async call<T>(port: string, effect: () => T): Promise<T> {
    const { timeline, nemesis, trace } = this.#run;
    const invocation = this.#current.getStore();
    if (invocation?.alive === false) return forever();
    await timeline.sleep(nemesis.latency(), invocation);
    const dies = nemesis.dies();
    if (invocation && dies === 'before') {
      trace(() => `† ${invocation.what} dies before ${port}`);
      invocation.kill();
      return forever();
    }
    if (nemesis.does('throttle')) {
      trace(() => `✗ ${port} of ${invocation?.what ?? 'nobody'} is throttled`);
      throw new FairleadError('unavailable', 'Too many requests at once. Try again.');
    }
    const result = effect();
    if (invocation && dies === 'after') {
      trace(() => `† ${invocation.what} dies after ${port}`);
      invocation.kill();
      return forever();
    }
    return result;
  }
}

function forever(): Promise<never> {
  return new Promise(() => {});
}
