import { describe, expect, it } from 'vitest';

import type { FleetInstance } from '../client/fleet.ts';
import { instance, network, runningInstance } from '../testing/instances.ts';
import { fairlead, FakeIo } from '../testing/io.ts';
import { ok, TestServer } from '../testing/server.ts';
import { matches } from './list-filter.ts';

async function list(instances: FleetInstance[], ...words: string[]) {
  await using server = await TestServer.start({ 'GET /1.0/instances': () => ok(instances) });
  const ran = await fairlead(new FakeIo({ ...server.env, TZ: 'UTC' }), 'list', ...words);
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  return { ...ran, calls: server.calls };
}

describe('list', () => {
  const two = [instance({ name: 'c10' }), runningInstance({ name: 'c2', location: 'bar' })];

  it('of one host is the table of lxc', async () => {
    const { stdout, calls } = await list(two, 'foo:');
    expect(stdout).toBe(`+------+---------+------+------+-----------+-----------+
| NAME |  STATE  | IPV4 | IPV6 |   TYPE    | SNAPSHOTS |
+------+---------+------+------+-----------+-----------+
| c2   | RUNNING |      |      | CONTAINER | 0         |
+------+---------+------+------+-----------+-----------+
| c10  | STOPPED |      |      | CONTAINER | 0         |
+------+---------+------+------+-----------+-----------+
`);
    expect(calls).toEqual(['GET /1.0/instances?target=foo&recursion=2']);
  });

  it('of the fleet says where each is, as lxc does for a cluster', async () => {
    const { stdout, calls } = await list(two);
    expect(stdout).toContain(`| NAME |  STATE  | IPV4 | IPV6 |   TYPE    | SNAPSHOTS | LOCATION |`);
    expect(stdout).toContain(`| c2   | RUNNING |      |      | CONTAINER | 0         | bar      |`);
    expect(calls).toEqual(['GET /1.0/instances?recursion=2']);
  });

  it('says how old the state is, in a column of its own, when a host is offline', async () => {
    const away = runningInstance({ fleet: { as_of: '2026-11-20T17:00:00Z', online: false } });
    const { stdout } = await list([away, instance({ name: 'c2' })], 'foo:');
    expect(stdout).toContain('| SNAPSHOTS |      SEEN       |');
    expect(stdout).toContain('| c1   | RUNNING |      |      | CONTAINER | 0         | offline, 3h ago |');
    expect(stdout).toContain('| c2   | STOPPED |      |      | CONTAINER | 0         |                 |');
    const csv = await list([away], '--format', 'csv');
    expect(csv.stdout).toBe('c1,RUNNING,,,CONTAINER,0,foo\n');
  });

  it('shows each reachable address on its line', async () => {
    const state = {
      ...runningInstance().state!,
      network: { eth0: network('10.0.3.4'), docker0: network('172.17.0.1') },
    };
    const { stdout } = await list([runningInstance({ state })], 'foo:', '-c', 'n4');
    expect(stdout).toBe(`+------+----------------------+
| NAME |         IPV4         |
+------+----------------------+
| c1   | 172.17.0.1 (docker0) |
|      | 10.0.3.4 (eth0)      |
+------+----------------------+
`);
  });

  it("knows all of lxc's columns, and configuration keys", async () => {
    const base = {
      'volatile.base_image': '30d42b9f21bb7dc700cbbed7c443e4f56be4f58b053ff17d3a9c5495fd336bf8',
      'user.role': 'db',
    };
    const one = runningInstance({
      config: base,
      expanded_config: base,
      expanded_devices: { root: { type: 'disk', path: '/', pool: 'default' } },
    });
    const { stdout } = await list([one], '-f', 'csv', '-c', 'nstDSPdamMNufbeLp,user.role');
    expect(stdout).toBe(
      'c1,RUNNING,CONTAINER,,0,default,,x86_64,432.00KiB,0.0%,2,0s,30d42b9f21bb,default,default,foo,607,db\n',
    );
  });

  it('prints the objects as they are for programs', async () => {
    const { stdout } = await list([instance()], '--format', 'json');
    expect(JSON.parse(stdout)).toEqual([instance()]);
  });

  it('refuses a column or format that is not there', async () => {
    await using server = await TestServer.start();
    expect(await fairlead(new FakeIo(server.env), 'list', '-c', 'nZ')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Error: There is no column "Z"') as string,
    });
    expect(await fairlead(new FakeIo(server.env), 'list', '-f', 'xml')).toMatchObject({
      code: 1,
      stderr: 'Error: Unknown format "xml": choose one of table, csv, json, yaml.\n',
    });
    expect(server.calls).toEqual([]);
  });
});

describe('filters of list', () => {
  const one = runningInstance({ name: 'web-1', expanded_config: { 'user.role': 'front', 'limits.memory': '1GiB' } });
  it.each([
    [['web'], true],
    [['web-1'], true],
    [['eb'], false],
    [['^.*-1$'], true],
    [['we.-1'], true],
    [['status=running'], true],
    [['status=stopped,RUNNING'], true],
    [['location=bar'], false],
    [['user.role=front'], true],
    [['u.r=front'], true],
    [['user.role=fr'], false],
    [['user.role=fr.*'], true],
    [['user.role=^fr'], true],
    [['web', 'status=stopped'], false],
    [['we[b'], false],
  ])('%j: %s', (filters, expected) => {
    expect(matches(one, filters)).toBe(expected);
  });
});
