import type { ChannelWorld } from './channel.ts';
import { REPEAT_MAX_MS, REPEAT_MIN_MS } from './limits.ts';

/** How long to wait for what follows a frame that was said `times` times, before it is said again: doubling, 2 s … 30 s. */
export function repeatMs(times: number): number {
  return Math.min(REPEAT_MAX_MS, REPEAT_MIN_MS * 2 ** Math.min(times - 1, 30));
}

/**
 * The link loses frames, so whoever waits for what follows a frame says it again, at growing intervals, until told that it came.
 * Every frame that is said so must be one that may come twice.
 */
export class Repeat {
  readonly #world: Pick<ChannelWorld, 'schedule'>;
  readonly #say: () => void;
  #times = 0;
  #cancel: (() => void) | undefined;

  /** `say` says it once more. */
  constructor(world: Pick<ChannelWorld, 'schedule'>, say: () => void) {
    this.#world = world;
    this.#say = say;
  }

  /** It was said just now. One that repeats already goes on as it was. */
  start(): void {
    if (this.#cancel === undefined) this.#later();
  }

  /** What was waited for came, or is not waited for any more. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#times = 0;
  }

  #later(): void {
    this.#times += 1;
    this.#cancel = this.#world.schedule(repeatMs(this.#times), () => {
      this.#later();
      this.#say();
    });
  }
}
