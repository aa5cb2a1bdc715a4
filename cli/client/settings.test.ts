import { describe, expect, it } from 'vitest';

import { findSettings } from './settings.ts';

const FINGERPRINT = 'ab'.repeat(32);
const at = (port: number) => JSON.stringify({ url: `https://h:${port}`, token: 't', fingerprint: FINGERPRINT });
const around = (env: Record<string, string>, files: Record<string, string> = {}) => ({
  env,
  home: '/home/u',
  read: (path: string) => files[path],
});

const LOCAL = '/home/u/.local/state/fairlead/local.json';
const DEFAULT = '/home/u/.local/share/fairlead/client.json';
const EVERYWHERE = { '/a/client.json': at(1), '/b/client.json': at(2), [LOCAL]: at(4), [DEFAULT]: at(5) };
const ENVIRONMENT = { FAIRLEAD_DATA: '/b', FAIRLEAD_URL: 'https://h:3', FAIRLEAD_TOKEN: 't' };

describe('settings', () => {
  it('come from --data, FAIRLEAD_DATA, FAIRLEAD_URL, a running "up", the default directory, in this order', () => {
    const { FAIRLEAD_DATA: _, ...urlOnly } = ENVIRONMENT;
    const order = [
      findSettings('/a', around(ENVIRONMENT, EVERYWHERE)),
      findSettings(undefined, around(ENVIRONMENT, EVERYWHERE)),
      findSettings(undefined, around(urlOnly, EVERYWHERE)),
      findSettings(undefined, around({}, EVERYWHERE)),
      findSettings(undefined, around({}, { [DEFAULT]: at(5) })),
    ];
    expect(order.map(({ url }) => url)).toEqual([1, 2, 3, 4, 5].map((port) => `https://h:${port}`));
    expect(order.map(({ source }) => source)).toEqual([
      '/a/client.json',
      '/b/client.json',
      'FAIRLEAD_URL',
      LOCAL,
      DEFAULT,
    ]);
  });

  it('follow the XDG directories', () => {
    const env = { XDG_STATE_HOME: '/s', XDG_DATA_HOME: '/d' };
    expect(findSettings(undefined, around(env, { '/s/fairlead/local.json': at(6) })).url).toBe('https://h:6');
    expect(findSettings(undefined, around(env, { '/d/fairlead/client.json': at(7) })).url).toBe('https://h:7');
  });

  it('say what was looked at when there are none', () => {
    expect(() => findSettings(undefined, around({}))).toThrow(
      `No control plane is set up here (looked at FAIRLEAD_DATA, FAIRLEAD_URL, ${LOCAL}, ${DEFAULT}). Start one with: fairlead up`,
    );
    expect(() => findSettings('/x', around({}, EVERYWHERE))).toThrow('Start one with: fairlead up --data /x');
  });

  it('need https, a token and a fingerprint that is one', () => {
    const env = (extra: object) => around({ FAIRLEAD_URL: 'https://h', FAIRLEAD_TOKEN: 't', ...extra });
    expect(() => findSettings(undefined, env({ FAIRLEAD_URL: 'http://h' }))).toThrow(/must begin with https/);
    expect(() => findSettings(undefined, env({ FAIRLEAD_TOKEN: '' }))).toThrow(/FAIRLEAD_TOKEN is not/);
    expect(() => findSettings(undefined, env({ FAIRLEAD_FINGERPRINT: 'abc' }))).toThrow(/64 hex digits/);
    expect(
      findSettings(undefined, env({ FAIRLEAD_FINGERPRINT: FINGERPRINT.toUpperCase().replace(/..(?=.)/g, '$&:') }))
        .fingerprint,
    ).toBe(FINGERPRINT);
    expect(() => findSettings('/a', around({}, { '/a/client.json': '{' }))).toThrow(/is not what "fairlead up" writes/);
  });
});
