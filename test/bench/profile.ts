/** Where the time of a CPU profile went: `node test/bench/profile.ts FILE.cpuprofile [ROWS]`. */
import { readFile } from 'node:fs/promises';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds. */
  readonly timeDeltas: readonly number[];
}

/** Microseconds by function: its own, and with all it called. */
function timesOf({ nodes, samples, timeDeltas }: Profile): Map<string, { own: number; all: number }> {
  const own = new Map<number, number>();
  samples.forEach((id, at) => own.set(id, (own.get(id) ?? 0) + (timeDeltas[at] ?? 0)));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const times = new Map<string, { own: number; all: number }>();
  const visit = (id: number, above: ReadonlySet<string>): number => {
    const { callFrame, children = [] } = byId.get(id)!;
    const file = callFrame.url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, '');
    const name = `${callFrame.functionName || '(anonymous)'} ${file}:${callFrame.lineNumber + 1}`;
    const within = new Set([...above, name]);
    const mine = own.get(id) ?? 0;
    const all = children.reduce((sum, child) => sum + visit(child, within), mine);
    const time = times.get(name) ?? { own: 0, all: 0 };
    // Recursion counts once.
    times.set(name, { own: time.own + mine, all: time.all + (above.has(name) ? 0 : all) });
    return all;
  };
  const [root] = nodes;
  if (root) visit(root.id, new Set());
  return times;
}

const [file = '', rows = '30'] = process.argv.slice(2);
const times = timesOf(JSON.parse(await readFile(file, 'utf8')) as Profile);
const ms = (microseconds: number) => (microseconds / 1000).toFixed(0).padStart(8);
for (const kind of ['own', 'all'] as const) {
  process.stdout.write(`\n${'own'.padStart(8)} ${'all'.padStart(8)}  ms, by ${kind}\n`);
  const most = [...times].toSorted(([, a], [, b]) => b[kind] - a[kind]).slice(0, Number(rows));
  for (const [name, time] of most) process.stdout.write(`${ms(time.own)} ${ms(time.all)}  ${name}\n`);
}
