import { describe, expect, it } from 'vitest';

import { decodeJoinToken, encodeJoinToken, type JoinToken } from './join-token.ts';

const token: JoinToken = {
  v: 1,
  u: 'https://fleet.example:8443',
  i: 'tok1',
  s: 'x'.repeat(43),
  f: 'ab'.repeat(32),
  e: 1_800_000_000_000,
};

describe('join token', () => {
  it('is one word that reads back whole', () => {
    expect(encodeJoinToken(token)).toMatch(/^fl1\.[\w-]+$/);
    expect(decodeJoinToken(` ${encodeJoinToken(token)}\n`)).toEqual(token);
  });

  it.each([
    ['nothing', ''],
    ['another prefix', 'eyJ2IjoxfQ'],
    ['a cut token', encodeJoinToken(token).slice(0, -20)],
    ['no JSON', 'fl1.AAAA'],
    [
      'a URL that is not http',
      `fl1.${Buffer.from(JSON.stringify({ ...token, u: 'file:///etc' })).toString('base64url')}`,
    ],
    ['another version', `fl1.${Buffer.from(JSON.stringify({ ...token, v: 2 })).toString('base64url')}`],
  ])('refuses %s without repeating it', (_what, text) => {
    expect(() => decodeJoinToken(text)).toThrow(/This is not a join token/);
  });
});
