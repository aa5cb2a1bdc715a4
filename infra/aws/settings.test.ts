import { App } from 'aws-cdk-lib';
import { describe, expect, it } from 'vitest';

import { readSettings } from './settings.ts';

const read = (context: Record<string, unknown>) => readSettings(new App({ context }).node);

describe('settings', () => {
  it('are all there when nothing is said', () => {
    expect(read({})).toEqual({
      name: 'Fairlead',
      destroyData: false,
      downloads: 's3',
      httpRate: 2000,
      linkRate: 6000,
      logDays: 30,
      reserve: {},
      tags: {},
    });
  });

  it('may come as text, as from a command line', () => {
    const settings = read({ destroyData: 'true', logDays: '90', reserve: 'http=100,link=200', tags: 'owner=me' });
    expect(settings).toMatchObject({
      destroyData: true,
      logDays: 90,
      reserve: { http: 100, link: 200 },
      tags: { owner: 'me' },
    });
  });

  it('name the link beside the domain when only that is given', () => {
    const certificate = 'arn:aws:acm:eu-central-1:111122223333:certificate/x';
    expect(read({ domain: 'fleet.example.org', certificate }).domains).toEqual({
      api: 'fleet.example.org',
      link: 'link.fleet.example.org',
      proof: { certificate },
    });
  });

  it.each([
    [{ reserve: 'htp=1' }, /no function "htp"/],
    [{ reserve: 'http=none' }, /"reserve.*expected number/i],
    [{ domain: 'fleet.example.org' }, /needs a certificate/],
    [{ linkDomain: 'link.example.org' }, /"domain" is missing/],
    [{ publicUrl: 'http://plain.example.org' }, /"publicUrl"/],
    [{ name: 'has spaces' }, /"name"/],
    [{ destroyData: 'yes' }, /"destroyData"/],
    [{ logDays: '31' }, /"logDays"/],
  ])('refuse %j with the key', (context, message) => {
    expect(() => read(context)).toThrow(message);
  });
});
