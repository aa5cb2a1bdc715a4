import { describe, expect, it } from 'vitest';

import { operation } from '../testing/server.ts';
import { useUtc } from '../testing/utc.ts';
import { age, dateTime, longDate } from './age.ts';
import { bytesIec, bytesSi, json, naturally, parseYaml, yaml } from './format.ts';
import { ProgressLine, progressText } from './progress.ts';

useUtc();

describe('sizes', () => {
  it('are those of lxc', () => {
    expect([0, 442_368, 1_237_319].map(bytesIec)).toEqual(['0B', '432.00KiB', '1.18MiB']);
    expect([999, 1_020_000].map(bytesSi)).toEqual(['999B', '1.02MB']);
  });
});

describe('times', () => {
  it('say nothing for never', () => {
    expect(['', '0001-01-01T00:00:00Z', '1970-01-01T00:00:00Z'].map(dateTime)).toEqual(['', '', '']);
  });

  it('are those of lxc', () => {
    expect(dateTime('2026-11-20T18:03:42.717Z')).toBe('2026/11/20 18:03 UTC');
    expect(longDate('2026-11-20T18:03:42.717Z')).toBe('Nov 20, 2026 at 6:03pm (UTC)');
    expect(longDate('2026-01-02T00:05:00Z')).toBe('Jan 2, 2026 at 12:05am (UTC)');
  });

  it('have an age in one unit', () => {
    const now = Date.parse('2026-11-20T20:00:00Z');
    const ages = ['2026-11-20T19:59:48Z', '2026-11-20T19:55:00Z', '2026-11-20T16:59:00Z', '2026-11-17T20:00:00Z'];
    expect(ages.map((time) => age(time, now))).toEqual(['12s', '5m', '3h', '3d']);
    expect(age('2026-11-20T20:00:09Z', now)).toBe('0s');
  });
});

describe('yaml', () => {
  it('reads as LXD would write it', async () => {
    const profile = {
      config: { 'user.k': '1', 'user.y': 'yes', 'user.m': '0755', 'user.j': '[{"a":1}]' },
      description: '',
      devices: {},
      profiles: ['default'],
    };
    expect(await yaml(profile)).toBe(`config:
  user.k: "1"
  user.y: "yes"
  user.m: "0755"
  user.j: '[{"a":1}]'
description: ""
devices: {}
profiles:
- default
`);
  });

  it('comes back as the same strings', async () => {
    const value = {
      a: '1',
      b: 'yes',
      c: '0755',
      d: '1.0',
      e: 'null',
      f: '~',
      g: 'a: b',
      h: 'x\ny\n',
      i: '2026-11-20',
      j: '0x1f',
      k: ' lead',
    };
    expect(await parseYaml(await yaml(value))).toEqual(value);
  });

  it('drives no terminal', async () => {
    const value = { a: 'x\u001b[2Jy', b: 'l1\nl2\u009b2J', c: '\u007f' };
    const text = await yaml(value);
    // oxlint-disable-next-line no-control-regex -- none may be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(await parseYaml(text)).toEqual(value);
    expect(json(value)).toBe('{"a":"x\\u001b[2Jy","b":"l1\\nl2\\u009b2J","c":"\\u007f"}');
  });

  it('says where a mistake is', async () => {
    await expect(parseYaml('a: [1')).rejects.toThrow(/not valid YAML.*line 1/s);
  });
});

describe('natural order', () => {
  it('counts numbers as numbers', () => {
    expect(['c10', 'c2', 'c1', 'b', 'c'].sort(naturally)).toEqual(['b', 'c', 'c1', 'c2', 'c10']);
  });
});

describe('progress', () => {
  it('names each step of an operation', () => {
    const metadata = {
      download_progress: '2% (143.06MB/s)',
      create_instance_from_image_unpack_progress: '7%',
      other: 'x',
    };
    expect(progressText(operation({ metadata }))).toBe(
      'Download: 2% (143.06MB/s), Create instance from image unpack: 7%',
    );
  });

  it('falls back on the description', () => {
    expect(progressText(operation({ description: 'Waiting for host foo', status: 'Pending' }))).toBe(
      'Waiting for host foo (Pending)',
    );
  });

  it('writes one line over itself, within the terminal, and leaves it empty', () => {
    let written = '';
    const line = new ProgressLine(
      (text) => (written += text),
      () => 11,
    );
    line.show('a long line of text');
    line.show('a long line of text');
    line.clear();
    line.clear();
    expect(written).toBe('\r\u001b[Ka long lin\r\u001b[K');
  });
});
