import type { Functions } from '../../../functions/functions.ts';
import type { Objects } from '../../../functions/ports/objects.ts';
import type { Ports } from '../../../functions/ports/ports.ts';
import { systemClock } from '../clock.ts';
import { systemRandom } from '../random.ts';
import { fromErrorData, toErrorData } from './error-data.ts';
import type { Open, Outside } from './messages.ts';

/** Some of the control plane's functions over ports that are in another thread. Bundled, and loaded anew for every invocation. */
export const program =
  (create: (ports: Ports) => Partial<Functions>): Open =>
  (outside) => {
    const functions = create(farPorts(outside));
    return async (entry, event) => {
      try {
        return { ok: true, value: await functions[entry]?.(event as never) };
      } catch (error) {
        return { ok: false, error: toErrorData(error) };
      }
    };
  };

function farPorts({ call, note, deployment }: Outside): Ports {
  const door =
    <T extends (...args: never[]) => Promise<unknown>>(name: string) =>
    async (...args: Parameters<T>): Promise<Awaited<ReturnType<T>>> => {
      const outcome = await call(name, args);
      if (outcome.ok) return outcome.value as Awaited<ReturnType<T>>;
      throw fromErrorData(outcome.error);
    };
  const next = door<(stream: number) => Promise<Uint8Array | undefined>>('objects.next');
  const end = door<(stream: number) => Promise<void>>('objects.end');
  return {
    records: {
      get: door('records.get') as Ports['records']['get'],
      query: door('records.query') as Ports['records']['query'],
      transact: door('records.transact'),
    },
    objects: {
      signPut: door<Objects['signPut']>('objects.signPut'),
      signGet: door<Objects['signGet']>('objects.signGet'),
      put: door<Objects['put']>('objects.put'),
      get: async (key) => chunks(await door<(key: string) => Promise<number>>('objects.get')(key), next, end),
      head: door<Objects['head']>('objects.head'),
      list: door<Objects['list']>('objects.list'),
      delete: door<Objects['delete']>('objects.delete'),
    },
    links: {
      post: door<Ports['links']['post']>('links.post'),
      postText: door<Ports['links']['postText']>('links.postText'),
      close: door<Ports['links']['close']>('links.close'),
    },
    jobs: { enqueue: door<Ports['jobs']['enqueue']>('jobs.enqueue') },
    clock: systemClock(),
    random: systemRandom,
    log: {
      info: (...line) => note('log.info', line),
      error: (...line) => note('log.error', line),
    },
    deployment,
  };
}

async function* chunks(
  stream: number,
  next: (stream: number) => Promise<Uint8Array | undefined>,
  end: (stream: number) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let chunk = await next(stream); chunk !== undefined; chunk = await next(stream)) yield chunk;
  } finally {
    await end(stream);
  }
}
