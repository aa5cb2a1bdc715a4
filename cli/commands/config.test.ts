import { describe, expect, it } from 'vitest';

import { against } from '../testing/against.ts';
import { instance } from '../testing/instances.ts';
import { ok, operation, started, type Routes } from '../testing/server.ts';

const done = (name: string) => started(operation({ resources: { instances: [`/1.0/instances/${name}`] } }));

describe('config', () => {
  const before = instance({ config: { 'user.b': '1', 'raw.lxc': 'x\ny' } });
  const routes: Routes = {
    'GET /1.0/instances/c1': () => ok(before, { etag: 'e1' }),
    'PUT /1.0/instances/c1': () => done('c1'),
  };

  it('shows what lxc shows', async () => {
    const { stdout } = await against(routes, ['config', 'show', 'c1']);
    expect(stdout).toBe(`architecture: x86_64
config:
  raw.lxc: |-
    x
    y
  user.b: "1"
devices: {}
ephemeral: false
profiles:
- default
stateful: false
description: ""
`);
  });

  it('sets and unsets one key and leaves the others, if nobody changed it meanwhile', async () => {
    const set = await against(routes, ['config', 'set', 'c1', 'user.foo=1', 'limits.memory=128MiB']);
    expect(set.bodies[1]).toMatchObject({
      config: { 'user.b': '1', 'raw.lxc': 'x\ny', 'user.foo': '1', 'limits.memory': '128MiB' },
    });
    expect(set.seen[1]?.headers['if-match']).toBe('e1');
    const unset = await against(routes, ['config', 'unset', 'c1', 'user.b']);
    expect(unset.bodies[1]).toHaveProperty('config', { 'raw.lxc': 'x\ny' });
    expect(await against(routes, ['config', 'unset', 'c1', 'user.none'])).toMatchObject({
      code: 1,
      stderr: 'Error: "user.none" is not set on c1.\n',
    });
  });

  it('gets a value, and nothing for a key that is not set', async () => {
    expect((await against(routes, ['config', 'get', 'c1', 'user.b'])).stdout).toBe('1\n');
    expect((await against(routes, ['config', 'get', 'c1', 'user.c'])).stdout).toBe('\n');
  });

  it('takes an edited document from the standard input', async () => {
    const document = 'architecture: x86_64\nconfig:\n  user.y: "yes"\ndescription: edited\n';
    const ran = await against(routes, ['config', 'edit', 'c1'], document);
    expect(ran.bodies[1]).toEqual({ architecture: 'x86_64', config: { 'user.y': 'yes' }, description: 'edited' });
  });
});

describe('profile', () => {
  const p1 = { name: 'p1', description: '', config: { 'user.k': 'v' }, devices: {}, used_by: ['/1.0/instances/c1'] };
  const routes: Routes = {
    'GET /1.0/profiles': () =>
      ok([p1, { ...p1, name: 'default', description: 'via query', used_by: ['a', 'b', 'c', 'd'] }]),
    'GET /1.0/profiles/p1': () => ok({ ...p1, used_by: [] }, { etag: 'e' }),
    'PUT /1.0/profiles/p1': () => ok({}),
    'POST /1.0/profiles': () => ok({}),
  };

  it('is listed and shown as lxc does', async () => {
    expect((await against(routes, ['profile', 'list'])).stdout).toBe(`+---------+-------------+---------+
|  NAME   | DESCRIPTION | USED BY |
+---------+-------------+---------+
| default | via query   | 4       |
+---------+-------------+---------+
| p1      |             | 1       |
+---------+-------------+---------+
`);
    expect((await against(routes, ['profile', 'show', 'p1'])).stdout).toBe(`config:
  user.k: v
description: ""
devices: {}
name: p1
used_by: []
`);
  });

  it('is created and changed', async () => {
    expect((await against(routes, ['profile', 'create', 'p1'])).stdout).toBe('Profile p1 created\n');
    const set = await against(routes, ['profile', 'set', 'p1', 'user.x', '2']);
    expect(set.bodies[1]).toEqual({ config: { 'user.k': 'v', 'user.x': '2' }, description: '', devices: {} });
    expect(set.seen[1]?.headers['if-match']).toBe('e');
  });
});
