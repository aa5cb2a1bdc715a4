import { describe, expect, it } from 'vitest';

import { statusFields, STATUS } from '#shared/lxd/status.ts';
import { against } from '../testing/against.ts';
import { useUtc } from '../testing/utc.ts';
import { ok, operation, type Routes } from '../testing/server.ts';

useUtc();

describe('host', () => {
  const host = {
    id: 'h1',
    name: 'foo',
    site: 'berlin',
    labels: { rack: '1', gpu: 'no' },
    status: 'offline',
    since: '2026-11-20T17:00:00Z',
    facts: null,
    enrolledAt: '2026-11-01T00:00:00Z',
  };
  const routes: Routes = {
    'GET /1.0/fleet/hosts': () => ok([host]),
    'GET /1.0/fleet/hosts/foo': () => ok(host),
    'PATCH /1.0/fleet/hosts/foo': () => ok(host),
  };

  it('is listed', async () => {
    const { stdout } = await against(routes, ['host', 'list', '--format', 'csv']);
    expect(stdout).toBe('foo,berlin,OFFLINE,3h ago,,,,,,"gpu=no\nrack=1"\n');
  });

  it('changes what is given, labels one by one', async () => {
    const ran = await against(routes, [
      'host',
      'set',
      'foo:',
      '--site',
      'paris',
      '--label',
      'rack=2',
      '--unlabel',
      'gpu',
    ]);
    expect(ran.bodies[1]).toEqual({ site: 'paris', labels: { rack: '2' } });
  });

  it('token prints the token alone on the standard output', async () => {
    const made = { id: 't1', token: 'fl1.abc', expires_at: '2026-11-20T20:15:00Z' };
    const ran = await against({ 'POST /1.0/fleet/join-tokens': () => ok(made) }, [
      'host',
      'token',
      '--site',
      'berlin',
      '--ttl',
      '1h',
    ]);
    expect(ran).toMatchObject({ code: 0, stdout: 'fl1.abc\n' });
    expect(ran.stderr).toContain('fairlead-connector join <token>');
    expect(ran.bodies[0]).toEqual({ site: 'berlin', ttl: 3600 });
  });
});

describe('operation', () => {
  it('is listed as lxc does for a cluster, oldest first', async () => {
    const one = operation({ description: 'Updating instance', created_at: '2026-11-20T18:05:00Z' });
    const older = operation({
      id: 'b',
      class: 'token',
      description: 'Image download token',
      ...statusFields(STATUS.cancelled),
      may_cancel: true,
      created_at: '2026-11-20T18:04:00Z',
    });
    const { stdout } = await against({ 'GET /1.0/operations': () => ok({ success: [one], cancelled: [older] }) }, [
      'operation',
      'list',
      '-f',
      'csv',
    ]);
    expect(stdout).toBe(
      `b,TOKEN,Image download token,CANCELLED,YES,2026/11/20 18:04 UTC,foo\n${one.id},TASK,Updating instance,SUCCESS,NO,2026/11/20 18:05 UTC,foo\n`,
    );
  });
});
