import { describe, expect, it } from 'vitest';

import type { HttpEvent } from '../ports/events.ts';
import { toHttpEvent } from './http-event.ts';

const event = (rawPath: string): HttpEvent => ({
  version: '2.0',
  rawPath,
  rawQueryString: 'a=%2F',
  headers: { host: 'abc.execute-api.eu-west-1.amazonaws.com', accept: '*/*' },
  isBase64Encoded: false,
  requestContext: { http: { method: 'GET', sourceIp: '192.0.2.1' }, requestId: 'r' },
});

describe("an HTTP API's event", () => {
  it.each([
    ['/1.0/instances/c1', '/1.0/instances/c1'],
    ['/1.0/images/aliases/ubuntu/24.04', '/1.0/images/aliases/ubuntu%2F24.04'],
    ['/1.0/images/aliases/ubuntu%2F24.04', '/1.0/images/aliases/ubuntu%2F24.04'],
    ['/1.0/profiles/a b?c#d', '/1.0/profiles/a%20b%3Fc%23d'],
    ['/1.0/profiles/é𝄞', '/1.0/profiles/%C3%A9%F0%9D%84%9E'],
    ['/1.0/profiles/100%', '/1.0/profiles/100%25'],
    ['/1.0/profiles/half\ud800', '/1.0/profiles/half%EF%BF%BD'],
  ])('has the path %j, whose routes read it as %s', (raw, path) => {
    expect(toHttpEvent(event(raw)).rawPath).toBe(path);
    expect(new URL(`https://gateway${path}`).pathname).toBe(path);
  });

  it('keeps the rest but for the name the gateway was asked by', () => {
    const { rawQueryString, headers } = toHttpEvent(event('/'));
    expect([rawQueryString, headers]).toEqual(['a=%2F', { accept: '*/*' }]);
  });
});
