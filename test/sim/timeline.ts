/** Whoever waits for something: once it has died, nothing that it waited for happens to it any more. */
export interface Mortal {
  alive: boolean;
}

const STEPS_A_TURN = 64;

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly owner: Mortal | undefined;
  task: (() => void) | undefined;
}

/** Virtual time, and everything that is yet to happen. All asynchrony of a run passes through here, one happening after the other. */
export class Timeline {
  /** Milliseconds since the run began. */
  now = 0;
  happened = 0;
  readonly #heap: Happening[] = [];
  #order = 0;

  /** Does something later, unless its owner has died by then. Returns what calls it off. */
  after(ms: number, task: () => void, owner?: Mortal): () => void {
    // Whole milliseconds, as timers are.
    const happening: Happening = { at: Math.ceil(this.now + Math.max(0, ms)), order: this.#order++, owner, task };
    this.#push(happening);
    return () => (happening.task = undefined);
  }

  /** Resolves later; never, when its owner has died by then. */
  sleep(ms: number, owner?: Mortal): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve, owner));
  }

  /** Lets time pass. After each happening all that follows from it without waiting has happened too, before the next. */
  run(ms: number, afterEach: () => void): Promise<void> {
    const until = this.now + ms;
    return new Promise((resolve, reject) => {
      let over = false;
      const end = (settle: () => void): void => {
        over = true;
        settle();
      };
      const step = (): void => {
        if (over) return;
        try {
          afterEach();
          if (this.#next(until)) return;
          this.now = until;
          end(resolve);
        } catch (error) {
          end(() => reject(error));
        }
      };
      // Node empties its queues of promises between two immediates; several for each turn of the loop, because the turn itself costs most.
      const turn = (): void => {
        if (over) return;
        for (let more = 0; more < STEPS_A_TURN; more++) setImmediate(step);
        setImmediate(turn);
      };
      turn();
    });
  }

  /** Does what is due next; false when nothing is until then. */
  #next(until: number): boolean {
    for (let next = this.#heap[0]; next && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      const { task, owner } = next;
      if (!task || owner?.alive === false) continue;
      this.now = next.at;
      this.happened += 1;
      task();
      return true;
    }
    return false;
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let at = heap.push(happening) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent]!, happening)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = happening;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (before(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
