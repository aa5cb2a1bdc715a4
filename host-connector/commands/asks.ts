import { FairleadError } from '#shared/errors.ts';
import { fromWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { repeatMs } from '#shared/link/repeat.ts';
import type { LinkWorld } from '../link/connection.ts';
import type { Urls } from '../transfer/store.ts';
import type { ImagePart } from './host.ts';

/** Questions after which nobody is taken to answer: ten minutes. Question or answer may be lost, or there is no link. */
export const MAX_ASKS = 23;
/** Parts of one image: 64 GiB in parts of 5 MiB, the least a store takes. */
export const MAX_PARTS = 13_200;

type Answer = Extract<DownFrame, { t: 'answer' }>;
type Named = Extract<UpFrame, { t: 'ask' | 'ask-put' | 'ask-get' }>;
type Question = Named extends infer Q ? (Q extends Named ? Omit<Q, 'id'> : never) : never;

/** Questions to the edge on behalf of commands: where the parts of an image are, and the objects of a move. */
export class Asks {
  readonly #send: (frame: UpFrame) => void;
  readonly #world: Pick<LinkWorld, 'schedule'>;
  readonly #newId: () => string;
  readonly #waiting = new Map<string, (answer: Answer) => void>();

  /** `send` puts a frame on the line that serves, if any. */
  constructor(send: (frame: UpFrame) => void, world: Pick<LinkWorld, 'schedule'>, newId: () => string) {
    this.#send = send;
    this.#world = world;
    this.#newId = newId;
  }

  /** Takes an answer; one that nobody waits for any more is dropped. */
  answer(frame: Answer): void {
    this.#waiting.get(frame.id)?.(frame);
  }

  /** All parts of an image, with URLs that are fresh. @throws FairleadError the edge's, or `unavailable` without answers */
  async locate(command: string, fingerprint: string, signal: AbortSignal): Promise<ImagePart[]> {
    const parts: ImagePart[] = [];
    for (let total = 1; parts.length < total;) {
      const answer = await this.#ask({ t: 'ask', command, fingerprint, from: parts.length }, signal);
      if (answer.error) throw fromWire(answer.error);
      total = Math.min(answer.total ?? 0, MAX_PARTS);
      if (!answer.parts || answer.parts.length === 0) {
        throw new FairleadError('not_found', 'The control plane does not have the image any more. Choose another one.');
      }
      parts.push(...answer.parts);
    }
    return parts;
  }

  /** Where the objects of a move are put and fetched; the questions end with `signal`. Rejects as {@link locate}. */
  urls(move: string, attempt: number, signal: AbortSignal): Urls {
    return {
      puts: async (objects) => {
        const answer = await this.#ask({ t: 'ask-put', move, attempt, objects: [...objects] }, signal);
        if (answer.error) throw fromWire(answer.error);
        return answer.puts ?? [];
      },
      gets: async (names) => {
        const answer = await this.#ask({ t: 'ask-get', move, attempt, names: [...names] }, signal);
        if (answer.error) throw fromWire(answer.error);
        return answer.urls ?? [];
      },
    };
  }

  async #ask(question: Question, signal: AbortSignal): Promise<Answer> {
    const id = this.#newId();
    try {
      for (let ask = 1; ask <= MAX_ASKS; ask += 1) {
        signal.throwIfAborted();
        const answer = this.#next(id, repeatMs(ask), signal);
        this.#send({ ...question, id });
        const given = await answer;
        if (given) return given;
      }
    } finally {
      this.#waiting.delete(id);
    }
    throw new FairleadError(
      'unavailable',
      'The control plane did not say where the bytes of this command are. Check the link of this host, then try again.',
    );
  }

  /** The next answer to a question; undefined when none came in time. */
  #next(id: string, withinMs: number, signal: AbortSignal): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason as Error);
      const cancel = this.#world.schedule(withinMs, () => settle(undefined));
      const settle = (answer: Answer | undefined): void => {
        cancel();
        signal.removeEventListener('abort', abort);
        resolve(answer);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.set(id, settle);
    });
  }
}
