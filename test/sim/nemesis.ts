import type { Chance } from './chance.ts';

/** How often what goes wrong, as shares of the cases. Each run has some of the faults, so that rare ones meet each other unmasked. */
export interface Faults {
  /** Of messages, either way. */
  drop: number;
  duplicate: number;
  delay: number;
  /** Of disconnect events. */
  lateDisconnect: number;
  lostDisconnect: number;
  /** Of calls of a port: the invocation dies before or after it. */
  kill: number;
  throttle: number;
  /** Of transactions: applied or not, the caller is told neither. */
  unknown: number;
  /** Of what is done to containers. */
  failAct: number;
  /** Of requests: the answer does not reach the caller. */
  lostAnswer: number;
}

const NONE: Faults = {
  drop: 0,
  duplicate: 0,
  delay: 0,
  lateDisconnect: 0,
  lostDisconnect: 0,
  kill: 0,
  throttle: 0,
  unknown: 0,
  failAct: 0,
  lostAnswer: 0,
};

const MOST: Faults = {
  drop: 0.15,
  duplicate: 0.2,
  delay: 0.3,
  lateDisconnect: 0.5,
  lostDisconnect: 0.4,
  kill: 0.02,
  throttle: 0.03,
  unknown: 0.05,
  failAct: 0.1,
  lostAnswer: 0.2,
};

/** Half of the kinds of faults are in a run. */
const SHARE_OF_KINDS = 0.5;
/** Delays up to this, mostly; a few ten times as long. */
const DELAY_MS = 3000;

/** What goes wrong, drawn from the seed. */
export class Nemesis {
  readonly #chance: Chance;
  #faults: Faults;

  constructor(chance: Chance) {
    this.#chance = chance;
    const kinds = Object.entries(MOST).map(([kind, most]) => {
      const share = chance.is(SHARE_OF_KINDS) ? chance.random() * most : 0;
      return [kind, share] as const;
    });
    this.#faults = Object.fromEntries(kinds) as unknown as Faults;
  }

  /** The kinds of faults of this run, for its trace. */
  get summary(): string {
    const some = Object.entries(this.#faults).filter(([, share]) => share > 0);
    return some.map(([kind, share]) => `${kind} ${(100 * Number(share)).toFixed(1)}%`).join(', ') || 'none';
  }

  /** From now on nothing goes wrong; returns what lets it go on. */
  rest(): () => void {
    const faults = this.#faults;
    this.#faults = NONE;
    return () => (this.#faults = faults);
  }

  does(kind: keyof Faults): boolean {
    return this.#chance.is(this.#faults[kind]);
  }

  /** After how long each copy of a message arrives: none, one or two. */
  copies(): number[] {
    if (this.does('drop')) return [];
    const copies = this.does('duplicate') ? 2 : 1;
    return Array.from({ length: copies }, () => this.travel());
  }

  /** How long one message is on its way. */
  travel(): number {
    const usual = this.#chance.between(1, 20);
    if (!this.does('delay')) return usual;
    const long = this.#chance.is(0.1) ? 10 * DELAY_MS : DELAY_MS;
    return usual + Math.round(this.#chance.random() * long);
  }

  /** When the functions hear of a connection's end; undefined: never. */
  disconnectIn(): number | undefined {
    if (this.does('lostDisconnect')) return undefined;
    if (!this.does('lateDisconnect')) return this.#chance.between(5, 100);
    return this.#chance.is(0.1) ? this.#chance.between(60_000, 3 * 3600_000) : this.#chance.between(100, 60_000);
  }

  /** Whether an invocation dies at this call of a port, and on which side of it. */
  dies(): 'before' | 'after' | undefined {
    if (!this.does('kill')) return undefined;
    return this.#chance.is(0.5) ? 'before' : 'after';
  }

  /** Heads or tails. */
  coin(): boolean {
    return this.#chance.is(0.5);
  }

  /** How long a call of a port takes. */
  latency(): number {
    return this.#chance.between(1, 6);
  }
}
