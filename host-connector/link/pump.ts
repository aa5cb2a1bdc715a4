import type { LinkLine, LinkWorld } from './connection.ts';
import type { Spool } from './spool.ts';

/** Frames sent and not yet acknowledged at a time, so that a full spool does not flood a new connection. */
export const PUMP_WINDOW = 64;
/** What the edge has not acknowledged for this long is sent again on the same connection. */
export const RESEND_MS = 30_000;

/** Tells the edge what is in the spool, oldest first, on whichever line serves, until each is `got`. */
export class Pump {
  readonly #spool: Spool;
  readonly #world: Pick<LinkWorld, 'schedule'>;
  readonly #underWay = new Set<number>();
  #line: LinkLine | undefined;
  /** Everything up to this number was sent on this line. */
  #sentTo = 0;
  #cancelResend: (() => void) | undefined;

  constructor(spool: Spool, world: Pick<LinkWorld, 'schedule'>) {
    this.#spool = spool;
    this.#world = world;
  }

  /** A new line: all that is unacknowledged goes out again. Undefined: no line, keep it. */
  use(line: LinkLine | undefined): void {
    this.#line = line;
    this.#again();
  }

  /** Something was put into the spool. */
  more(): void {
    if (!this.#line) return;
    while (this.#underWay.size < PUMP_WINDOW) {
      const page = this.#spool.waiting(this.#sentTo).slice(0, PUMP_WINDOW - this.#underWay.size);
      if (page.length === 0) break;
      for (const frame of page) {
        this.#underWay.add(frame.n);
        this.#sentTo = frame.n;
        this.#line.send(frame);
      }
    }
    if (this.#underWay.size > 0) this.#cancelResend ??= this.#world.schedule(RESEND_MS, () => this.#again());
  }

  /** The edge has frame `n`. */
  got(n: number): void {
    this.#spool.got(n);
    this.#underWay.delete(n);
    if (this.#underWay.size === 0) this.#stopClock();
    this.more();
  }

  #again(): void {
    this.#stopClock();
    this.#underWay.clear();
    this.#sentTo = 0;
    this.more();
  }

  #stopClock(): void {
    this.#cancelResend?.();
    this.#cancelResend = undefined;
  }
}
