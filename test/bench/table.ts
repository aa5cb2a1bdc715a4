/** What was measured, against its bar. */

export interface Row {
  readonly what: string;
  /** At most (or, with `atLeast`, at least) this much. */
  readonly bar: number;
  readonly atLeast?: true;
  readonly unit: string;
  readonly measured: number;
  /** Spread, conditions, what the figure is made of. */
  readonly note?: string;
}

/** How often the same thing was done, and how long it took each time. */
export interface Samples {
  readonly min: number;
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

/** Does something `count` times, one after the other, after `warmUp` times that do not count; milliseconds. `action` may tell its own time. */
export async function repeat(
  count: number,
  action: (at: number) => Promise<number | void>,
  warmUp = 2,
): Promise<Samples> {
  const times: number[] = [];
  for (let at = -warmUp; at < count; at++) {
    const start = performance.now();
    const told = await action(at);
    if (at >= 0) times.push(told ?? performance.now() - start);
  }
  return samplesOf(times);
}

/** Order statistics of times. */
export function samplesOf(times: readonly number[]): Samples {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { min: at(0), p50: at(0.5), p95: at(0.95), count: sorted.length };
}

/** "min 4.1, p95 9.0, n 50". */
export function spread({ min, p95, count }: Samples): string {
  return `min ${shown(min)}, p95 ${shown(p95)}, n ${count}`;
}

/** Whether a row keeps its bar. */
export function holds({ bar, atLeast, measured }: Row): boolean {
  return atLeast ? measured >= bar : measured <= bar;
}

/** The rows as a Markdown table. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const { what, bar, atLeast, unit, measured, note = '' } = row;
    return [
      what,
      `${atLeast ? '≥' : '≤'} ${bar} ${unit}`,
      `${shown(measured)} ${unit}`,
      holds(row) ? 'ok' : 'MISSED',
      note,
    ];
  });
  const head = ['what', 'bar', 'measured', 'verdict', 'details'];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

/** A figure with as many digits as it deserves. */
export function shown(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}
