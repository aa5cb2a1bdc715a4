import { describe, expect, it } from 'vitest';

import { csv, table } from './table.ts';

describe('table', () => {
  it('draws what lxc 5.0.2 draws', () => {
    const rows = [
      ['c1', 'RUNNING', '', '', 'CONTAINER', '1'],
      ['c1ren2', 'STOPPED', '', '', 'CONTAINER', '0'],
    ];
    expect(table(['NAME', 'STATE', 'IPV4', 'IPV6', 'TYPE', 'SNAPSHOTS'], rows)).toBe(
      `+--------+---------+------+------+-----------+-----------+
|  NAME  |  STATE  | IPV4 | IPV6 |   TYPE    | SNAPSHOTS |
+--------+---------+------+------+-----------+-----------+
| c1     | RUNNING |      |      | CONTAINER | 1         |
+--------+---------+------+------+-----------+-----------+
| c1ren2 | STOPPED |      |      | CONTAINER | 0         |
+--------+---------+------+------+-----------+-----------+
`,
    );
  });

  it('draws only headings for no rows', () => {
    expect(table(['ALIAS', 'TARGET'], [])).toBe(`+-------+--------+\n| ALIAS | TARGET |\n+-------+--------+\n`);
  });

  it('gives a cell of several lines as many lines', () => {
    const rows = [['c1', '10.0.3.4 (eth0)\n172.17.0.1 (docker0)', '0']];
    expect(table(['NAME', 'IPV4', 'SNAPSHOTS'], rows)).toBe(
      `+------+----------------------+-----------+
| NAME |         IPV4         | SNAPSHOTS |
+------+----------------------+-----------+
| c1   | 10.0.3.4 (eth0)      | 0         |
|      | 172.17.0.1 (docker0) |           |
+------+----------------------+-----------+
`,
    );
  });

  it('shows what would drive the terminal', () => {
    expect(table(['DESCRIPTION'], [['\u001b]0;owned\u0007x']])).toContain('| \\x1b]0;owned\\x07x |');
  });

  it('counts the columns a text takes', () => {
    const [rule, , , row] = table(['D'], [['日本']]).split('\n');
    expect(rule).toBe('+------+');
    expect(row).toBe('| 日本 |');
  });
});

describe('csv', () => {
  it('quotes only what needs it', () => {
    expect(csv([['c1', 'RUNNING', 'a "b", c', 'x\ny']])).toBe('c1,RUNNING,"a ""b"", c","x\ny"\n');
  });
});
