/** Questions that are asked one by one and answered in batches, one batch at a time: what comes meanwhile goes with the next. */
export class Batch<Q, A> {
  readonly #ask: (questions: Q[]) => Promise<readonly A[]>;
  readonly #limit: number;
  readonly #waiting: { question: Q; resolve: (answer: A) => void; reject: (error: unknown) => void }[] = [];
  #asking = false;

  /** @param limit questions in one batch */
  constructor(limit: number, ask: (questions: Q[]) => Promise<readonly A[]>) {
    this.#limit = limit;
    this.#ask = ask;
  }

  /** The answer to one question; rejects as its batch does. */
  ask(question: Q): Promise<A> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ question, resolve, reject });
      if (!this.#asking) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#asking = true;
    for (let batch = this.#waiting.splice(0, this.#limit); batch.length > 0;) {
      try {
        const answers = await this.#ask(batch.map(({ question }) => question));
        if (answers.length !== batch.length) throw new Error('an answer is missing');
        for (const [index, { resolve }] of batch.entries()) resolve(answers[index] as A);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      batch = this.#waiting.splice(0, this.#limit);
    }
    this.#asking = false;
  }
}
