import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { FairleadError } from '#shared/errors.ts';
import type { Functions } from '../../../functions/functions.ts';
import type { HttpResult } from '../../../functions/ports/events.ts';
import type { Ports } from '../../../functions/ports/ports.ts';
import { createInvocations } from '../invocations.ts';
import type { TimerClock } from '../clock.ts';
import { openDoors } from './doors.ts';
import { fromErrorData } from './error-data.ts';
import type { Entry, FromThread, Outcome, Programs, ThreadData, ToThread } from './messages.ts';

/** Invocations at once, each in a thread of its own. Most of them wait for a host or an operation. */
const MAX_THREADS = 48;
/** Module graphs that are loaded at once: that takes a core each, and more would only make all of them late. */
const MAX_LOADING = availableParallelism();

/** Of several reads at once the first that finds nothing ends a request; that the others still run is no work undone. */
const READS = new Set(['records.get', 'records.query', 'objects.get', 'objects.next', 'objects.head', 'objects.list']);

function isRefusal(outcome: Outcome): boolean {
  return !outcome.ok || ((outcome.value as Partial<HttpResult> | undefined)?.statusCode ?? 0) >= 400;
}

export interface IsolatedOptions {
  /** `bundlePrograms` makes those of the functions. */
  readonly programs: Programs;
  readonly ports: Ports;
  readonly clock: TimerClock;
  /** Threads that are started before they are needed. */
  readonly prewarmed?: number;
}

export interface Isolated extends Functions {
  /** What handlers left running when they returned, by the name of what they called; a function that keeps nothing leaves nothing. */
  readonly leftBehind: readonly string[];
  /** Ends every thread, whatever it does. */
  stop(): Promise<void>;
}

/**
 * Functions as Lambda treats them at its worst: every invocation gets a freshly loaded module graph, runs at the same time as others in a
 * thread of its own, and when its handler has returned nothing of it goes on: a thread in which something still runs is ended.
 */
export function isolated({ programs, ports, clock, prewarmed = 2 }: IsolatedOptions): Isolated {
  const data: ThreadData = { programs, deployment: ports.deployment };
  const slots = createInvocations(MAX_THREADS, Infinity, clock);
  const cores = createInvocations(MAX_LOADING, Infinity, clock);
  const idle: Promise<Worker>[] = [];
  const all = new Set<Worker>();
  const leftBehind: string[] = [];
  let stopped = false;

  const start = async (): Promise<Worker> => {
    const thread = new Worker(new URL('./thread.ts', import.meta.url), { workerData: data });
    all.add(thread);
    thread.once('exit', () => all.delete(thread));
    await once(thread, 'message');
    return thread;
  };
  const invoke = async (entry: Entry, event: unknown): Promise<unknown> => {
    if (stopped) throw new FairleadError('unavailable', 'the control plane is stopping; try again in a moment');
    const { thread, done } = await cores.invoke(async () => {
      const thread = await (idle.pop() ?? start());
      const { loaded, done } = run(thread, entry, event, ports);
      await loaded;
      return { thread, done };
    });
    const { outcome, left } = await done;
    if (left.length === 0) idle.push(Promise.resolve(thread));
    else void thread.terminate();
    const undone = isRefusal(outcome) ? left.filter((what) => !READS.has(what)) : left;
    if (undone.length > 0) {
      leftBehind.push(...undone.map((what) => `${entry}: ${what}`));
      ports.log.error('a handler returned before its work was done', { entry, left: undone });
    }
    if (outcome.ok) return outcome.value;
    throw fromErrorData(outcome.error);
  };
  const entry =
    <E extends Entry>(name: E) =>
    (event: Parameters<Functions[E]>[0]) =>
      slots.invoke(() => invoke(name, event)) as ReturnType<Functions[E]>;
  for (let n = 0; n < prewarmed; n += 1) idle.push(start());

  return {
    http: entry('http'),
    authorize: entry('authorize'),
    connect: entry('connect'),
    message: entry('message'),
    disconnect: entry('disconnect'),
    job: entry('job'),
    leftBehind,
    stop: async () => {
      stopped = true;
      await Promise.allSettled(idle);
      await Promise.all([...all].map((thread) => thread.terminate()));
    },
  };
}

type Done = Extract<FromThread, { t: 'done' }>;

interface Running {
  /** The handler has begun, or will never. */
  readonly loaded: Promise<void>;
  readonly done: Promise<Done>;
}

/** One invocation. A thread that dies in the middle of it has failed it. */
function run(thread: Worker, entry: Entry, event: unknown, ports: Ports): Running {
  const doors = openDoors(ports);
  const say = (message: ToThread) => thread.postMessage(message, []);
  const loaded = Promise.withResolvers<void>();
  const done = Promise.withResolvers<Done>();
  // It may fail before anybody waits for it.
  done.promise.catch(() => undefined);
  const settle = (outcome: () => void) => {
    thread.off('message', receive).off('error', fail).off('exit', died);
    doors.close();
    loaded.resolve();
    outcome();
  };
  const answer = (call: number, outcome: Outcome) => say({ t: 'answer', call, outcome });
  const receive = (message: FromThread) => {
    if (message.t === 'loaded') loaded.resolve();
    if (message.t === 'call')
      void doors.call(message.door, message.args).then((outcome) => answer(message.call, outcome));
    if (message.t === 'note') doors.note(message.door, message.args);
    if (message.t === 'done') settle(() => done.resolve(message));
  };
  const fail = (error: unknown) => settle(() => done.reject(error));
  const died = () => fail(new FairleadError('internal', `the thread of ${entry} ended in the middle of its work`));
  thread.on('message', receive).once('error', fail).once('exit', died);
  say({ t: 'invoke', entry, event });
  return { loaded: loaded.promise, done: done.promise };
}
