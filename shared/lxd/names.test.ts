import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkName, nameProblem, newInstanceName, type NameKind } from './names.ts';

const KINDS: NameKind[] = ['instance', 'host', 'site', 'remote', 'snapshot', 'profile', 'project', 'device', 'alias'];

describe('instance names', () => {
  it.each(['c1', 'C1', '1c', 'a', 'a-b-c', 'x'.repeat(63)])('allow %s', (name) => {
    expect(nameProblem('instance', name)).toBeUndefined();
  });

  it.each(['', '-a', 'a-', '12', '0', 'x'.repeat(64), 'a.b', 'a_b', 'a/b', 'ä', 'a b', 'a\n', '..', '$(x)', 'a%2f'])(
    'refuse %j',
    (name) => {
      expect(nameProblem('instance', name)).toContain('allowed are 1 to 63 letters');
    },
  );

  it('may be left to the server only where that is said', () => {
    expect(newInstanceName.safeParse('').success).toBe(true);
    expect(() => checkName('instance', '')).toThrow('not a valid instance name');
  });
});

describe('other names', () => {
  it('allow what people use', () => {
    expect(nameProblem('alias', 'ubuntu/24.04/cloud')).toBeUndefined();
    expect(nameProblem('snapshot', 'auto-2026-01-01T10:00:00+01:00')).toBeUndefined();
    expect(nameProblem('profile', 'my_profile.v2')).toBeUndefined();
  });

  it.each(['a//b', '/a', 'a/', 'a/../b', '.a'])('refuse the alias %j', (name) => {
    expect(nameProblem('alias', name)).toBeDefined();
  });
});

describe('every name that passes', () => {
  const dangerous = fc.stringMatching(/^[A-Za-z0-9]{0,3}[a1._/:+$%&;|`'"\\ \n\r\0-]{0,6}$/);

  it.each(KINDS)('is plain text that cannot leave a directory (%s)', (kind) => {
    fc.assert(
      fc.property(fc.oneof(dangerous, fc.string({ unit: 'binary', maxLength: 70 })), (value) => {
        fc.pre(nameProblem(kind, value) === undefined);
        expect(value).toMatch(/^[A-Za-z0-9][A-Za-z0-9._:+/-]*$/);
        expect(value).not.toContain('..');
        if (kind !== 'alias') expect(value).not.toContain('/');
      }),
      { numRuns: 300, maxSkipsPerRun: 1000 },
    );
  });

  it('is checked in linear time', () => {
    const started = performance.now();
    for (const kind of KINDS) nameProblem(kind, 'a/'.repeat(500_000));
    expect(performance.now() - started).toBeLessThan(50);
  });
});
