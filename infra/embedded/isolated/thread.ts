/** The thread of one function at a time: loads its program anew for each invocation, and tells what it left behind. */
import { createRequire } from 'node:module';
import { Script } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';

import type { FromThread, Open, Outcome, Outside, ThreadData, ToThread } from './messages.ts';

/** Timers that still run; sockets are not counted, since keeping them open for the next invocation is good manners in the cloud. */
const RUNNING = new Set(['Timeout', 'Immediate']);

const { programs, deployment } = workerData as ThreadData;
const require = createRequire(import.meta.url);
const scripts = new Map<string, Script>();
const waiting = new Map<number, { readonly door: string; readonly settle: (outcome: Outcome) => void }>();
let calls = 0;

const outside: Outside = {
  call: (door, args) =>
    new Promise((settle) => {
      waiting.set(++calls, { door, settle });
      say({ t: 'call', call: calls, door, args });
    }),
  note: (door, args) => say({ t: 'note', door, args }),
  deployment,
};

function say(message: FromThread): void {
  parentPort?.postMessage(message, []);
}

/** Compiled once, evaluated often. */
function scriptOf(program: string): Script {
  const script = scripts.get(program) ?? new Script(`(function (require, module, exports) {${program}\n})`);
  scripts.set(program, script);
  return script;
}

/** A module graph that nobody used before. */
function load(program: string): { open: Open } {
  const module = { exports: {} as { open: Open } };
  const evaluate = scriptOf(program).runInThisContext() as (...args: unknown[]) => void;
  evaluate(require, module, module.exports);
  return module.exports;
}

async function invoke({ entry, event }: Extract<ToThread, { t: 'invoke' }>): Promise<void> {
  const handle = load(programs[entry]).open(outside);
  say({ t: 'loaded' });
  const outcome = await handle(entry, event);
  const timers = process.getActiveResourcesInfo().filter((kind) => RUNNING.has(kind));
  say({ t: 'done', outcome, left: [...[...waiting.values()].map(({ door }) => door), ...timers] });
}

parentPort?.on('message', (message: ToThread) => {
  if (message.t === 'invoke') void invoke(message);
  else {
    waiting.get(message.call)?.settle(message.outcome);
    waiting.delete(message.call);
  }
});
say({ t: 'ready' });
