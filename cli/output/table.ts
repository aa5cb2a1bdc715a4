import { printable } from './printable.ts';

/** Rows of cells; a cell may hold several lines. */
export type Rows = readonly (readonly string[])[];

/**
 * A table as `lxc` draws it (recorded from lxc 5.0.2): headings centred, with the odd space on the right; cells to the left; a rule below every row.
 * Ends with a line feed.
 */
export function table(headings: readonly string[], rows: Rows): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell, 'keep lines').split('\n')));
  const widths = headings.map((heading, column) =>
    Math.max(width(heading), ...cells.flatMap((row) => (row[column] ?? ['']).map(width))),
  );
  const rule = `+${widths.map((w) => '-'.repeat(w + 2)).join('+')}+`;
  const line = (texts: readonly string[]) => `|${texts.map((text) => ` ${text} `).join('|')}|`;

  const out = [rule, line(headings.map((heading, column) => centre(heading, widths[column] ?? 0))), rule];
  for (const row of cells) {
    const height = Math.max(...row.map((cell) => cell.length));
    for (let at = 0; at < height; at += 1) {
      out.push(line(widths.map((w, column) => padEnd(row[column]?.[at] ?? '', w))));
    }
    out.push(rule);
  }
  return `${out.join('\n')}\n`;
}

/** Rows as `lxc --format csv` prints them: no headings; quoted where a reader would need it (RFC 4180). */
export function csv(rows: Rows): string {
  const cell = (text: string) => (/[",\n\r]|^\s/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => `${row.map(cell).join(',')}\n`).join('');
}

function centre(text: string, to: number): string {
  const gap = to - width(text);
  return padEnd(' '.repeat(Math.floor(gap / 2)) + text, to);
}

function padEnd(text: string, to: number): string {
  return text + ' '.repeat(Math.max(0, to - width(text)));
}

/** Columns a text takes on a terminal: the wide blocks of East Asia and pictographs count two, combining marks none. */
function width(text: string): number {
  let columns = 0;
  for (const char of text) {
    if (/\p{Mn}|\p{Me}|\u200d|\ufe0f/u.test(char)) continue;
    columns +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]/u.test(
        char,
      )
        ? 2
        : 1;
  }
  return columns;
}
