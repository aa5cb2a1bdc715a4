import { FairleadError } from '#shared/errors.ts';
import type { Ports } from '../../../functions/ports/ports.ts';
import { toErrorData } from './error-data.ts';
import type { Outcome } from './messages.ts';

/** The ports as one invocation in another thread may call them, by name. */
export interface Doors {
  call(door: string, args: readonly unknown[]): Promise<Outcome>;
  note(door: string, args: readonly unknown[]): void;
  /** The invocation is over: what it was reading is let go. */
  close(): void;
}

type Door = (...args: never[]) => Promise<unknown>;

/** The doors of one invocation. */
export function openDoors({ records, objects, links, jobs, log }: Ports): Doors {
  const reading = new Map<number, AsyncIterator<Uint8Array>>();
  let streams = 0;
  const end = async (stream: number) => {
    await reading.get(stream)?.return?.();
    reading.delete(stream);
  };
  const doors: Readonly<Record<string, Door>> = {
    'records.get': records.get.bind(records),
    'records.query': records.query.bind(records),
    'records.transact': records.transact.bind(records),
    'objects.signPut': objects.signPut.bind(objects),
    'objects.signGet': objects.signGet.bind(objects),
    'objects.put': objects.put.bind(objects),
    'objects.head': objects.head.bind(objects),
    'objects.list': objects.list.bind(objects),
    'objects.delete': objects.delete.bind(objects),
    'objects.get': async (key: string) => {
      const iterable = await objects.get(key);
      reading.set(++streams, iterable[Symbol.asyncIterator]());
      return streams;
    },
    'objects.next': async (stream: number) => (await reading.get(stream)?.next())?.value as Uint8Array | undefined,
    'objects.end': end,
    'links.post': links.post.bind(links),
    'links.postText': links.postText.bind(links),
    'links.close': links.close.bind(links),
    'jobs.enqueue': jobs.enqueue.bind(jobs),
  };
  return {
    call: async (name, args) => {
      try {
        const door = doors[name] as ((...args: readonly unknown[]) => Promise<unknown>) | undefined;
        if (door === undefined) throw new FairleadError('internal', `a function called ${name}, which is no port`);
        return { ok: true, value: await door(...args) };
      } catch (error) {
        return { ok: false, error: toErrorData(error) };
      }
    },
    note: (door, [message, fields]) => {
      log[door === 'log.error' ? 'error' : 'info'](String(message), fields as Record<string, unknown> | undefined);
    },
    close: () => {
      for (const stream of reading.keys()) {
        end(stream).catch((error: unknown) => log.error('an object could not be let go', { error }));
      }
    },
  };
}
