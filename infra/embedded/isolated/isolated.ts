import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { FairleadError } from '#shared/errors.ts';
import type { Functions } from '../../../functions/functions.ts';
import type { Ports } from '../../../functions/ports/ports.ts';
import { createInvocations } from '../invocations.ts';
import type { TimerClock } from '../clock.ts';
import { openDoors } from './doors.ts';
import { fromErrorData } from './error-data.ts';
import type { Entry, FromThread, Outcome, Programs, ThreadData, ToThread } from './messages.ts';

/** Invocations at once, each in a thread of its own. Most of them wait for a host or an operation. */
const MAX_THREADS = 48;

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
    const thread = await (idle.pop() ?? start());
    const { outcome, left } = await run(thread, entry, event, ports);
    if (left.length === 0) idle.push(Promise.resolve(thread));
    else {
      leftBehind.push(...left.map((what) => `${entry}: ${what}`));
      ports.log.error('a handler returned before its work was done', { entry, left });
      void thread.terminate();
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

/** One invocation. A thread that dies in the middle of it has failed it. */
function run(thread: Worker, entry: Entry, event: unknown, ports: Ports): Promise<Pick<Done, 'outcome' | 'left'>> {
  const doors = openDoors(ports);
  const say = (message: ToThread) => thread.postMessage(message, []);
  return new Promise((resolve, reject) => {
    const settle = (outcome: () => void) => {
      thread.off('message', receive).off('error', fail).off('exit', died);
      doors.close();
      outcome();
    };
    const answer = (call: number, outcome: Outcome) => say({ t: 'answer', call, outcome });
    const receive = (message: FromThread) => {
      if (message.t === 'call')
        void doors.call(message.door, message.args).then((outcome) => answer(message.call, outcome));
      if (message.t === 'note') doors.note(message.door, message.args);
      if (message.t === 'done') settle(() => resolve(message));
    };
    const fail = (error: unknown) => settle(() => reject(error));
    const died = () => fail(new FairleadError('internal', `the thread of ${entry} ended in the middle of its work`));
    thread.on('message', receive).once('error', fail).once('exit', died);
    say({ t: 'invoke', entry, event });
  });
}
