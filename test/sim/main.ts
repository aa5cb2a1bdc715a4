import { parseArgs } from 'node:util';

import { simulate } from './scenario.ts';

/** `npm run sim -- --seeds N --from S` runs many; `--seed S` runs one and shows what happens. Exits 1 when an invariant broke. */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
  },
});

if (values.seed !== undefined) {
  const { violation, happened } = await simulate(Number(values.seed), { trace: (line) => console.log(line) });
  console.log(
    violation ? `seed ${values.seed} breaks ${violation.message}` : `seed ${values.seed} holds; ${happened} happenings`,
  );
  process.exitCode = violation ? 1 : 0;
} else {
  const [from, count] = [Number(values.from), Number(values.seeds)];
  const began = performance.now();
  const broken: number[] = [];
  let happened = 0;
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed);
    happened += outcome.happened;
    if (!outcome.violation) continue;
    broken.push(seed);
    console.log(`seed ${seed}: ${outcome.violation.message.slice(0, 400)}`);
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${count} seeds in ${seconds.toFixed(1)} s (${(count / seconds).toFixed(1)} a second, ${Math.round(happened / count)} happenings each)`,
  );
  if (broken.length > 0) console.log(`${broken.length} broken; replay one with: npm run sim -- --seed ${broken[0]}`);
  process.exitCode = broken.length > 0 ? 1 : 0;
}
