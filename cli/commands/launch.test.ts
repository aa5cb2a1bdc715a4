import { describe, expect, it } from 'vitest';

import { statusFields, STATUS } from '#shared/lxd/status.ts';
import { against } from '../testing/against.ts';
import { instance, runningInstance } from '../testing/instances.ts';
import { ok, operation, started, type Routes } from '../testing/server.ts';

const FINGERPRINT = '30d42b9f21bb7dc700cbbed7c443e4f56be4f58b053ff17d3a9c5495fd336bf8';

const alias: Routes = {
  'GET /1.0/images/aliases/bb': () => ok({ name: 'bb', description: '', target: FINGERPRINT, type: 'container' }),
};
const done = (name: string) => started(operation({ resources: { instances: [`/1.0/instances/${name}`] } }));

describe('launch', () => {
  it('creates and starts in one request, on the host before the colon', async () => {
    const words = [
      'launch',
      'bb',
      'foo:c1',
      '-c',
      'user.a=b=c',
      '-c',
      'limits.memory=1GiB',
      '-p',
      'default',
      '-p',
      'p2',
    ];
    const ran = await against({ ...alias, 'POST /1.0/instances': () => done('c1') }, words);
    expect(ran).toMatchObject({ code: 0, stdout: 'Creating c1\nStarting c1\n', stderr: '' });
    expect(ran.calls).toEqual(['GET /1.0/images/aliases/bb', 'POST /1.0/instances?target=foo']);
    expect(ran.bodies[1]).toMatchObject({
      name: 'c1',
      source: { type: 'image', fingerprint: FINGERPRINT },
      config: { 'user.a': 'b=c', 'limits.memory': '1GiB' },
      profiles: ['default', 'p2'],
      start: true,
    });
  });

  it('leaves name, host and profile to the server when not told', async () => {
    const ran = await against({ ...alias, 'POST /1.0/instances': () => done('lucky-cat') }, ['launch', 'bb']);
    expect(ran.stdout).toBe('Creating the instance\nInstance name is: lucky-cat\nStarting lucky-cat\n');
    expect(ran.calls[1]).toBe('POST /1.0/instances');
    expect(ran.bodies[1]).toMatchObject({ name: '', profiles: null });
  });

  it('without profiles says so', async () => {
    const ran = await against({ ...alias, 'POST /1.0/instances': () => done('c1') }, [
      'init',
      'bb',
      'c1',
      '--no-profiles',
    ]);
    expect(ran.stdout).toBe('Creating c1\n');
    expect(ran.bodies[1]).toMatchObject({ profiles: [], start: false });
  });

  it('finds an image by the beginning of its fingerprint', async () => {
    const image: Routes = {
      'GET /1.0/images/30d42b': () => ok({ fingerprint: FINGERPRINT }),
      'POST /1.0/instances': () => done('c1'),
    };
    const ran = await against(image, ['launch', '30d42b', 'c1']);
    expect(ran.bodies[2]).toMatchObject({ source: { fingerprint: FINGERPRINT } });
  });

  it('fails in one sentence for an image that is not there', async () => {
    const ran = await against({}, ['launch', 'nosuchimage', 'zz']);
    expect(ran).toMatchObject({ code: 1, stdout: 'Creating zz\n' });
    expect(ran.stderr).toMatch(/^Error: Image not found/);
  });

  it('does not wait when told so, and says how to look after it', async () => {
    const running = operation(statusFields(STATUS.running));
    const ran = await against({ ...alias, 'POST /1.0/instances': () => started(running) }, [
      'launch',
      'bb',
      'c1',
      '--no-wait',
    ]);
    expect(ran).toMatchObject({ code: 0, stdout: 'Creating c1\n' });
    expect(ran.stderr).toContain(`fairlead operation show ${running.id}`);
    expect(ran.calls.length).toBe(2);
  });

  it("passes on the operation's own sentence", async () => {
    const failed = operation({ ...statusFields(STATUS.failure), err: 'host foo: disk full' });
    const ran = await against({ ...alias, 'POST /1.0/instances': () => started(failed) }, ['launch', 'bb', 'c1']);
    expect(ran).toMatchObject({ code: 1, stderr: 'Error: host foo: disk full\n', stdout: 'Creating c1\n' });
  });
});

describe('state', () => {
  const c1 = (one = runningInstance()): Routes => ({
    'GET /1.0/instances/c1': () => ok(one),
    'PUT /1.0/instances/c1/state': () => done('c1'),
    'DELETE /1.0/instances/c1': () => done('c1'),
  });

  it('stops with force and timeout', async () => {
    const ran = await against(c1(), ['stop', 'foo:c1', '--force', '--timeout', '30']);
    expect(ran).toMatchObject({ code: 0, stdout: '', stderr: '', calls: ['PUT /1.0/instances/c1/state?target=foo'] });
    expect(ran.bodies[0]).toEqual({ action: 'stop', timeout: 30, force: true, stateful: false });
  });

  it('does not wait when told so, and says how to look after it', async () => {
    const running = operation(statusFields(STATUS.running));
    const routes = {
      ...c1(instance({ status: 'Stopped', status_code: STATUS.stopped })),
      'PUT /1.0/instances/c1/state': () => started(running),
      'DELETE /1.0/instances/c1': () => started(running),
    };
    for (const verb of ['start', 'stop', 'restart', 'pause', 'resume', 'delete']) {
      const ran = await against(routes, [verb, 'c1', '--no-wait']);
      expect(ran).toMatchObject({
        code: 0,
        stdout: '',
        stderr: expect.stringContaining(`operation show ${running.id}`),
      });
    }
  });

  it('lets a frozen one go on when it is started', async () => {
    const ran = await against(c1(instance({ status: 'Frozen', status_code: 110 })), ['start', 'c1']);
    expect(ran.bodies[1]).toMatchObject({ action: 'unfreeze' });
  });

  it('does not delete what runs, but with force stops it first', async () => {
    expect(await against(c1(), ['delete', 'c1'])).toMatchObject({
      code: 1,
      stderr: 'Error: The instance is currently running, stop it first or pass --force\n',
    });
    const forced = await against(c1(), ['delete', '-f', 'c1']);
    expect(forced.calls.slice(1)).toEqual(['PUT /1.0/instances/c1/state', 'DELETE /1.0/instances/c1']);
    const ephemeral = await against(c1(runningInstance({ ephemeral: true })), ['delete', '-f', 'c1']);
    expect(ephemeral.calls.slice(1)).toEqual(['PUT /1.0/instances/c1/state']);
  });

  it('of several goes on after a failure, and counts', async () => {
    const ran = await against(c1(), ['stop', 'c1', 'c2']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toBe('Error: c2: no route PUT /1.0/instances/c2/state\nError: 1 of 2 failed.\n');
    expect(ran.calls).toContain('PUT /1.0/instances/c1/state');
  });
});
