import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { simulate, type Outcome } from './scenario.ts';

/**
 * `npm run sim -- --seeds N --from S` runs many; `--seed S` runs one and shows what happens. `--keep` writes a file for each seed that
 * broke something, so that the tests run it from then on. Exits 1 when an invariant broke.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

const broken = values.seed === undefined ? await runMany() : await show(Number(values.seed));
process.exitCode = broken > 0 ? 1 : 0;

/** One run with its trace. */
async function show(seed: number): Promise<number> {
  const outcome = await simulate(seed, { trace: (line) => console.log(line) });
  if (!outcome.violation) console.log(`seed ${seed} holds; ${outcome.happened} happenings`);
  return tell(outcome);
}

async function runMany(): Promise<number> {
  const [from, count] = [Number(values.from), Number(values.seeds)];
  const began = performance.now();
  let [failures, happened, time] = [0, 0, 0];
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed);
    failures += tell(outcome);
    happened += outcome.happened;
    time += outcome.time;
  }
  const seconds = (performance.now() - began) / 1000;
  const speed = `${(count / seconds).toFixed(1)} seeds and ${Math.round(happened / seconds)} happenings a second`;
  console.log(`${count} seeds in ${seconds.toFixed(1)} s: ${speed}; ${Math.round(time / 3_600_000)} virtual hours`);
  if (failures > 0) console.log(`${failures} broken; replay one with: npm run sim -- --seed S`);
  return failures;
}

/** Says what a run broke, if anything. */
function tell({ seed, violation }: Outcome): number {
  if (!violation) return 0;
  console.log(`seed ${seed} breaks ${violation.message.slice(0, 600)}`);
  if (values.keep) writeFileSync(new URL(`seeds/${seed}.txt`, import.meta.url), `${violation.message}\n`);
  return 1;
}
