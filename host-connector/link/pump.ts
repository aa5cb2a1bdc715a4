import { repeatMs } from '#shared/link/repeat.ts';
import type { LinkLine, LinkWorld } from './connection.ts';
import type { Report, Spool, Spooled } from './spool.ts';

/** Frames sent and not yet acknowledged at a time, so that a full spool does not flood a new connection. */
export const PUMP_WINDOW = 64;

interface Said {
  readonly frame: Spooled | Report;
  times: number;
  againAt: number;
}

/** Tells the edge the newest report and what is in the spool, oldest first, on whichever line serves, each again until it is `got`. */
export class Pump {
  readonly #spool: Spool;
  readonly #world: Pick<LinkWorld, 'schedule' | 'now'>;
  /** By number. A report is here alone: the next line gets a new one. */
  readonly #said = new Map<number, Said>();
  #line: LinkLine | undefined;
  /** Everything in the spool up to this number was sent on this line. */
  #sentTo = 0;
  #cancelAgain: (() => void) | undefined;

  constructor(spool: Spool, world: Pick<LinkWorld, 'schedule' | 'now'>) {
    this.#spool = spool;
    this.#world = world;
  }

  /** A new line: all that is unacknowledged goes out again. Undefined: no line, keep it. */
  use(line: LinkLine | undefined): void {
    this.#line = line;
    this.#said.clear();
    this.#sentTo = 0;
    this.more();
  }

  /** A full report, instead of an earlier one. */
  report(frames: readonly Report[]): void {
    for (const [n, { frame }] of this.#said) if (frame.t === 'report') this.#said.delete(n);
    for (const frame of frames) this.#say(frame);
    this.#wakeAgain();
  }

  /** Something was put into the spool. */
  more(): void {
    while (this.#line && this.#said.size < PUMP_WINDOW) {
      const page = this.#spool.waiting(this.#sentTo).slice(0, PUMP_WINDOW - this.#said.size);
      if (page.length === 0) break;
      for (const frame of page) {
        this.#sentTo = frame.n;
        this.#say(frame);
      }
    }
    this.#wakeAgain();
  }

  /** The edge has frame `n`. */
  got(n: number): void {
    this.#spool.got(n);
    this.#said.delete(n);
    this.more();
  }

  #say(frame: Spooled | Report): void {
    if (!this.#line) return;
    const times = (this.#said.get(frame.n)?.times ?? 0) + 1;
    this.#said.set(frame.n, { frame, times, againAt: this.#world.now() + repeatMs(times) });
    this.#line.send(frame);
  }

  #wakeAgain(): void {
    this.#cancelAgain?.();
    this.#cancelAgain = undefined;
    if (this.#said.size === 0) return;
    const next = Math.min(...[...this.#said.values()].map(({ againAt }) => againAt));
    this.#cancelAgain = this.#world.schedule(Math.max(0, next - this.#world.now()), () => this.#again());
  }

  #again(): void {
    const now = this.#world.now();
    for (const { frame, againAt } of this.#said.values()) if (againAt <= now) this.#say(frame);
    this.#wakeAgain();
  }
}
