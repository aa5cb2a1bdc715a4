import { describe, expect, it } from 'vitest';

import { Envelope } from '#shared/lxd/envelope.ts';
import { connectedHost, launch } from '../../test/fake-host.ts';
import { openWorld, PUBLIC_URL, type World } from '../../test/world.ts';
import { allows, ROLES, type Entitlement, type Role } from '../domain/trust/actor.ts';
import { MAX_BODY_BYTES, routeTable } from './app.ts';
import { RouteTable, type Route } from './route.ts';

/** Who may do what: written down here a second time, so that a route cannot change its entitlement unnoticed. */
const EXPECTED: Readonly<Record<string, Entitlement>> = {
  'GET /': 'public',
  'GET /1.0': 'public',
  'POST /1.0/fleet/enroll': 'public',
  'POST /1.0/fleet/hosts/:id/nonce': 'public',
  'GET /1.0/instances': 'view',
  'GET /1.0/instances/:name': 'view',
  'GET /1.0/instances/:name/state': 'view',
  'GET /1.0/images': 'view',
  'GET /1.0/images/aliases': 'view',
  'GET /1.0/images/aliases/:name': 'view',
  'GET /1.0/images/:fingerprint': 'view',
  'GET /1.0/profiles': 'view',
  'GET /1.0/profiles/:name': 'view',
  'GET /1.0/operations': 'view',
  'GET /1.0/operations/:id': 'view',
  'GET /1.0/operations/:id/wait': 'view',
  'GET /1.0/fleet/hosts': 'view',
  'GET /1.0/fleet/hosts/:name': 'view',
  'GET /1.0/fleet/sites': 'view',
  'GET /1.0/fleet/moves': 'view',
  'GET /1.0/fleet/moves/:id': 'view',
  'POST /1.0/fleet/users/:name/tokens': 'view',
  'DELETE /1.0/fleet/users/:name/tokens/:id': 'view',
  'PUT /1.0/instances/:name/state': 'operate',
  'POST /1.0/instances/:name/exec': 'operate',
  'GET /1.0/instances/:name/console': 'operate',
  'DELETE /1.0/operations/:id': 'operate',
  'POST /1.0/instances': 'edit',
  'PUT /1.0/instances/:name': 'edit',
  'PATCH /1.0/instances/:name': 'edit',
  'DELETE /1.0/instances/:name': 'edit',
  'POST /1.0/fleet/moves': 'edit',
  'POST /1.0/fleet/uploads': 'edit',
  'GET /1.0/fleet/uploads/:id': 'edit',
  'POST /1.0/images': 'edit',
  'POST /1.0/images/aliases': 'edit',
  'PUT /1.0/images/aliases/:name': 'edit',
  'PATCH /1.0/images/aliases/:name': 'edit',
  'POST /1.0/images/aliases/:name': 'edit',
  'DELETE /1.0/images/aliases/:name': 'edit',
  'DELETE /1.0/images/:fingerprint': 'edit',
  'POST /1.0/profiles': 'edit',
  'PUT /1.0/profiles/:name': 'edit',
  'PATCH /1.0/profiles/:name': 'edit',
  'POST /1.0/profiles/:name': 'edit',
  'DELETE /1.0/profiles/:name': 'edit',
  'GET /1.0/fleet/doctor': 'manage-fleet',
  'PATCH /1.0/fleet/hosts/:name': 'manage-fleet',
  'DELETE /1.0/fleet/hosts/:name': 'manage-fleet',
  'POST /1.0/fleet/join-tokens': 'manage-fleet',
  'GET /1.0/fleet/join-tokens': 'manage-fleet',
  'DELETE /1.0/fleet/join-tokens/:id': 'manage-fleet',
  'GET /1.0/fleet/users': 'manage-fleet',
  'POST /1.0/fleet/users': 'manage-fleet',
  'DELETE /1.0/fleet/users/:name': 'manage-fleet',
};

const routes = routeTable().routes;
const named = ({ method, path }: Route) => `${method} ${path}`;
/** A path of the route that names nothing there is, and does not wait. */
const concrete = ({ path }: Route) => `${path.replaceAll(/:\w+/g, 'nothing')}?timeout=0`;

describe('the route table', () => {
  it('is the one written down here', () => {
    expect(Object.fromEntries(routes.map((route) => [named(route), route.entitlement]))).toEqual(EXPECTED);
    expect(new Set(routes.map(named)).size).toBe(routes.length);
  });

  it('does not take a route without an entitlement', () => {
    const bare = { method: 'GET', path: '/1.0/bare', handle: () => ({ sync: {} }) } as unknown as Route;
    expect(() => new RouteTable().add(bare)).toThrow(/entitlement/);
  });

  it.each([undefined, ...ROLES])(
    'lets %s in where its entitlement says, and nowhere else',
    async (role: Role | undefined) => {
      await using world = await openWorld();
      for (const route of routes) {
        const token = role === undefined ? null : world.tokens[role];
        // Not JSON: whoever is let in learns that at the latest, so that nothing is done.
        const { status, error } = await world.api(route.method, concrete(route), '{', { token });
        const wanted = allows(role, EXPECTED[named(route)]!);
        const refused = status === 403 && /not authorized|Your role/.test(error);
        expect({ route: named(route), in: !refused }).toEqual({ route: named(route), in: wanted });
        expect(status, named(route)).not.toBe(500);
      }
    },
  );

  it('lets nobody in with a bad token, not even where anybody may come', async () => {
    await using world = await openWorld();
    for (const route of routes) {
      for (const authorization of [
        'Bearer x',
        `Bearer flp_00000000-0000-4000-8000-000000000000_${'0'.repeat(64)}`,
        'Basic YTpi',
        'Bearer',
      ]) {
        const { status } = await world.api(route.method, concrete(route), '{', { headers: { authorization } });
        expect(status, named(route)).toBe(401);
      }
    }
  });

  it('answers an unknown path with 404 before it looks at credentials or body', async () => {
    await using world = await openWorld();
    for (const path of ['/1.0/nothing', '/2.0', '/1.0/instances/c1/nothing', '/1.0/fleet', '/1.0/../etc', '//1.0']) {
      const answer = await world.api('POST', path, '{'.repeat(100), { headers: { authorization: 'Bearer x' } });
      expect(answer, path).toMatchObject({ status: 404, type: 'error' });
    }
  });
});

describe('a request', () => {
  const post = (world: World, body: unknown) => world.api('POST', '/1.0/profiles', body);

  it('whose body is no JSON is refused', async () => {
    await using world = await openWorld();
    expect(await post(world, '{"name":')).toMatchObject({
      status: 400,
      error: expect.stringContaining('not valid JSON'),
    });
  });

  it.each([
    ['is nested 100,000 deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['is nested 33 deep', `{"name":"p","x":${'{"a":'.repeat(33)}1${'}'.repeat(34)}`],
    ['has an array of 10,001', JSON.stringify({ name: 'p', x: Array.from({ length: 10_001 }, () => 0) })],
  ])('whose body %s is refused', async (_, body) => {
    await using world = await openWorld();
    expect(await post(world, body)).toMatchObject({ status: 400, error: expect.stringContaining('deeper') });
  });

  it('of over a mebibyte is refused, whatever it says of its length', async () => {
    await using world = await openWorld();
    const body = JSON.stringify({ name: 'p1', description: 'x'.repeat(MAX_BODY_BYTES) });
    const headers = { 'content-length': '10' };
    expect(await world.api('POST', '/1.0/profiles', body, { headers })).toMatchObject({
      status: 413,
      error: expect.stringContaining('A request says at most'),
    });
  });

  it('may say any content type, as with LXD', async () => {
    await using world = await openWorld();
    const headers = { 'content-type': 'text/plain' };
    expect((await world.api('POST', '/1.0/profiles', { name: 'p1' }, { headers })).status).toBe(201);
  });

  it('for a project there is not is refused', async () => {
    await using world = await openWorld();
    expect(await world.api('GET', '/1.0/instances?project=other')).toMatchObject({
      status: 404,
      error: expect.stringContaining('default'),
    });
    expect((await world.api('GET', '/1.0/instances?project=default')).status).toBe(200);
    const connect = {
      headers: { authorization: `Bearer ${world.tokens.viewer}` },
      requestContext: { connectionId: 'c', sourceIp: '' },
    };
    const allowed = async (project: string) =>
      (await world.functions.authorize({ ...connect, queryStringParameters: { path: '/1.0/events', project } })).allow;
    expect([await allowed('default'), await allowed('other'), await allowed('a\u0000')]).toEqual([true, false, false]);
  });

  it.each([
    ['other.example', 421],
    ['fairlead.example', 421],
    ['fairlead.example:8443', 200],
    ['localhost:8443', 200],
    ['192.0.2.1:8443', 200],
    ['[::1]:8443', 200],
    ['127.0.0.1.evil.example', 421],
  ])('to Host %s is answered with %i', async (host, status) => {
    await using world = await openWorld();
    expect((await world.api('GET', '/1.0', undefined, { headers: { host } })).status).toBe(status);
  });
});

describe('an answer', () => {
  it('is in one of the envelopes of LXD, errors too', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    const requests = [
      ['GET', '/1.0', undefined, 'sync', 200],
      ['GET', '/1.0/instances', undefined, 'sync', 200],
      ['POST', '/1.0/profiles', { name: 'p1' }, 'sync', 201],
      ['PUT', '/1.0/instances/c1/state', { action: 'stop' }, 'async', 202],
      ['GET', '/1.0/instances/none', undefined, 'error', 404],
      ['GET', '/nothing', undefined, 'error', 404],
    ] as const;
    for (const [method, path, body, type, status] of requests) {
      const answer = await world.api(method, path, body);
      expect(Envelope.parse(JSON.parse(answer.text)).type).toBe(type);
      expect(answer).toMatchObject({
        status,
        headers: { 'content-type': expect.stringContaining('application/json') },
      });
      if (type === 'error') expect(JSON.parse(answer.text)).toMatchObject({ error_code: status, metadata: null });
      else expect(JSON.parse(answer.text)).toMatchObject({ status_code: type === 'async' ? 100 : 200, error: '' });
    }
  });

  it('names no address but the public one, whatever the request claims', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    const evil = 'evil.example';
    const headers = {
      'x-forwarded-host': evil,
      'x-forwarded-proto': 'http',
      forwarded: `host=${evil}`,
      origin: `https://${evil}`,
      referer: `https://${evil}/`,
    };
    for (const route of routes) {
      const body = route.path.endsWith('join-tokens') ? {} : '{';
      const answer = await world.api(route.method, concrete(route), body, { headers });
      const decoded =
        answer.text + Buffer.from(answer.text.split('fl1.')[1]?.split('"')[0] ?? '', 'base64url').toString();
      expect(decoded + JSON.stringify(answer.headers), named(route)).not.toContain(evil);
      for (const [url] of decoded.matchAll(/https?:\/\/[^"\\/ ]+/g)) expect(url).toBe(PUBLIC_URL);
    }
  });

  it('to an accident says nothing of its cause, which the log does', async () => {
    await using world = await openWorld();
    world.records.beforeTransaction = () => Promise.reject(new Error('secret cause'));
    const answer = await world.api('POST', '/1.0/profiles', { name: 'p1' });
    expect(answer).toMatchObject({ status: 500, error: expect.stringContaining('log') });
    expect(answer.text).not.toContain('secret cause');
    expect(world.logged.join()).toContain('secret cause');
  });

  it('to nobody tells that he is not trusted, and nothing else', async () => {
    await using world = await openWorld();
    const answer = await world.api('GET', '/1.0', undefined, { token: null });
    expect(answer.metadata).toMatchObject({ auth: 'untrusted' });
    expect(answer.metadata).not.toHaveProperty('environment');
    expect((await world.api('GET', '/1.0')).metadata).toMatchObject({
      auth: 'trusted',
      environment: { server: 'fairlead' },
    });
  });

  it('to HEAD is that to GET without a body', async () => {
    await using world = await openWorld();
    expect(await world.api('HEAD', '/1.0')).toMatchObject({ status: 200, text: '' });
  });
});
