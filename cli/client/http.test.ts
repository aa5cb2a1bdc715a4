import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { isFairleadError } from '#shared/errors.ts';
import { notFound, ok, operation, started, TestServer, TOKEN } from '../testing/server.ts';
import { ControlPlane, url } from './http.ts';
import { agentFor } from './pinned.ts';
import type { Settings } from './settings.ts';

function connect(settings: Settings, pause?: (ms: number) => Promise<unknown>): ControlPlane & Disposable {
  const api = new ControlPlane(settings, agentFor(settings.fingerprint), pause);
  return Object.assign(api, { [Symbol.dispose]: () => api.close() });
}

describe('ControlPlane', () => {
  it('sends the token, and takes the answer out of its envelope', async () => {
    await using server = await TestServer.start({
      'PUT /1.0/profiles/p1': () => ok({ a: 1 }, { etag: 'e2', date: 'Fri, 20 Nov 2026 20:00:00 GMT' }),
    });
    using api = connect(server.settings);
    const sending = { query: { target: 'foo', none: undefined }, body: { config: {} }, etag: 'e1' };
    const answer = await api.call('PUT', url`/1.0/profiles/${'p1'}`, sending);

    expect(answer).toEqual({ metadata: { a: 1 }, async: false, etag: 'e2', date: Date.parse('2026-11-20T20:00:00Z') });
    expect(server.seen[0]).toMatchObject({ query: { target: 'foo' }, body: { config: {} } });
    expect(server.seen[0]?.headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, 'if-match': 'e1' });
  });

  it('sends again what was throttled, and gives up in the end', async () => {
    let throttled = 2;
    const refusal = { status: 429, body: { type: 'error', error: 'too many', error_code: 429 } };
    await using server = await TestServer.start({
      'POST /1.0/profiles': () => (throttled-- > 0 ? refusal : ok({})),
      'GET /1.0/profiles': () => refusal,
    });
    const pauses: number[] = [];
    using api = connect(server.settings, async (ms) => void pauses.push(ms));
    await api.send('POST', '/1.0/profiles', { body: { name: 'p' } });
    expect(server.seen.map(({ body }) => body)).toEqual([{ name: 'p' }, { name: 'p' }, { name: 'p' }]);
    expect(pauses).toHaveLength(2);
    await expect(api.get('/1.0/profiles')).rejects.toMatchObject({ code: 'rate_limited', message: 'too many' });
  });

  it('opens websockets where the control plane says, which it is asked once', async () => {
    let asked = 0;
    await using server = await TestServer.start({
      'GET /1.0': () => ok({ environment: { fleet_link: (asked += 1) && 'wss://link.example.org/live' } }),
    });
    using api = connect(server.settings);
    const [link, events] = await Promise.all([api.socket('/1.0/fleet/link'), api.socket('/1.0/events?type=lifecycle')]);
    expect(link.url).toBe('wss://link.example.org/live?path=%2F1.0%2Ffleet%2Flink');
    expect(events.url).toBe('wss://link.example.org/live?path=%2F1.0%2Fevents&type=lifecycle');
    expect(link.headers).toEqual({ authorization: `Bearer ${TOKEN}` });
    expect(asked).toBe(1);
  });

  it('opens websockets at its own address when nothing else is said', async () => {
    await using server = await TestServer.start();
    using api = connect(server.settings);
    expect((await api.socket('/1.0/events')).url).toBe(`${server.url.replace('https', 'wss')}/1.0/events`);
  });

  it('takes compressed answers, and notices one that was cut', async () => {
    const whole = gzipSync(JSON.stringify(ok(['x'.repeat(100_000)]).body));
    await using server = await TestServer.start({
      'GET /1.0/instances': ({ query }) => ({
        body: query['cut'] ? whole.subarray(0, -20) : whole,
        headers: { 'content-encoding': 'gzip' },
      }),
    });
    using api = connect(server.settings);
    expect(await api.get('/1.0/instances')).toEqual(['x'.repeat(100_000)]);
    expect(server.seen[0]?.headers['accept-encoding']).toBe('gzip');
    const error = await api.get('/1.0/instances', { cut: 1 }).catch((reason: unknown) => reason);
    expect(isFairleadError(error, 'unavailable')).toBe(true);
  });

  it('escapes names', async () => {
    await using server = await TestServer.start();
    using api = connect(server.settings);
    await expect(api.get(url`/1.0/images/aliases/${'a/b?c'}`)).rejects.toThrow('/1.0/images/aliases/a%2Fb%3Fc');
  });

  it("passes on the server's own sentence with the usual code of the status", async () => {
    await using server = await TestServer.start({ 'GET /1.0/instances/c1': () => notFound('Instance not found') });
    using api = connect(server.settings);
    const error = await api.get('/1.0/instances/c1').catch((reason: unknown) => reason);
    expect(isFairleadError(error, 'not_found')).toBe(true);
    expect(error).toMatchObject({ message: 'Instance not found' });
  });

  it('answers the operation a request started, and refuses to go on without one', async () => {
    await using server = await TestServer.start({
      'POST /1.0/instances': () => started(operation()),
      'POST /1.0/images': () => ok({}),
    });
    using api = connect(server.settings);
    expect(await api.start('POST', '/1.0/instances', { body: {} })).toEqual(operation());
    await expect(api.start('POST', '/1.0/images')).rejects.toThrow(/without an operation/);
  });

  it('knows when it talks to something else', async () => {
    await using server = await TestServer.start({
      'GET /1.0': () => ({ status: 502, body: '<html>Bad Gateway</html>' }),
    });
    using api = connect(server.settings);
    await expect(api.get('/1.0')).rejects.toThrow(/answered "502 Bad Gateway".*Is the address right/);
  });

  it('says where it wanted to go, where that was set, and what to do, when nobody is there', async () => {
    const gone = await TestServer.start();
    const { settings } = gone;
    await gone[Symbol.asyncDispose]();
    using api = connect(settings);
    const error = await api.get('/1.0').catch((reason: unknown) => reason);
    expect(isFairleadError(error, 'unavailable')).toBe(true);
    expect(String(error)).toContain(
      `Can not reach the control plane at ${settings.url} (from the test): connect ECONNREFUSED`,
    );
    expect(String(error)).toContain('start one with: fairlead up');
  });

  it('sends nothing to a server with another certificate', async () => {
    await using server = await TestServer.start({ 'GET /1.0': () => ok({}) });
    using api = connect({ ...server.settings, fingerprint: '0'.repeat(64) });
    const error = await api.get('/1.0').catch((reason: unknown) => reason);
    expect(isFairleadError(error, 'wrong_server')).toBe(true);
    expect(server.seen).toEqual([]);
  });

  it('trusts no self-signed certificate without a fingerprint', async () => {
    await using server = await TestServer.start({ 'GET /1.0': () => ok({}) });
    const { fingerprint: _, ...settings } = server.settings;
    using api = connect(settings);
    await expect(api.get('/1.0')).rejects.toThrow(/self-signed certificate/);
    expect(server.seen).toEqual([]);
  });

  it('uses one connection for requests that follow each other', async () => {
    await using server = await TestServer.start({ 'GET /1.0': () => ok({}) });
    using api = connect(server.settings);
    await api.get('/1.0');
    await api.get('/1.0');
    expect(server.connections).toBe(1);
  });
});
