import { describe, expect, it } from 'vitest';

import { count, parseDuration, parseImage, parseInstance, parsePairs, parseSettings, parseTarget } from './grammar.ts';

describe('names', () => {
  it('have a host before the colon', () => {
    expect(parseTarget('foo:c1')).toEqual({ host: 'foo', name: 'c1' });
    expect(parseTarget('foo:')).toEqual({ host: 'foo', name: '' });
    expect(parseTarget('c1')).toEqual({ host: undefined, name: 'c1' });
  });

  it('are refused with two colons, without a host, and without an instance where one is needed', () => {
    expect(() => parseTarget('a:b:c')).toThrow(/"a:b:c" is no name/);
    expect(() => parseTarget(':c1')).toThrow(/is no name/);
    expect(() => parseInstance('foo:')).toThrow(/names no instance/);
  });

  it('of images have no remote, and the error says what to do', () => {
    expect(parseImage('ubuntu/24.04')).toBe('ubuntu/24.04');
    expect(() => parseImage('images:alpine')).toThrow(/fairlead image import FILE --alias alpine/);
  });
});

describe('settings', () => {
  it('are split at the first equals sign', () => {
    expect(parsePairs(['a=b=c', 'raw.lxc=x\ny', 'e='])).toEqual({ a: 'b=c', 'raw.lxc': 'x\ny', e: '' });
    expect(() => parsePairs(['=x'])).toThrow(/write key=value/);
  });

  it("may be lxc's older two words", () => {
    expect(parseSettings(['limits.memory', '1GiB'])).toEqual({ 'limits.memory': '1GiB' });
    expect(parseSettings(['a=1', 'b=2'])).toEqual({ a: '1', b: '2' });
    expect(() => parseSettings(['a', 'b', 'c'])).toThrow(/"a" is no setting/);
  });
});

describe('numbers', () => {
  it('are whole and not negative', () => {
    expect(count('30')).toBe(30);
    for (const wrong of ['-1', '1.5', 'x', '']) expect(() => count(wrong)).toThrow(/is not a number/);
  });

  it('have units where they are durations', () => {
    expect(['90', '90s', '15m', '12h', '1d'].map(parseDuration)).toEqual([90, 90, 900, 43_200, 86_400]);
    expect(() => parseDuration('soon')).toThrow(/write 90s/);
  });
});
