import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'fleet', hosts: ['foo', 'bar'] });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
});

afterAll(() => fleet[Symbol.asyncDispose]());

interface Row {
  readonly name: string;
  readonly status: string;
  readonly location: string;
  readonly state: { readonly pid: number; readonly processes: number; readonly memory: { readonly usage: number } };
}

async function instance(name: string, host: string): Promise<Row> {
  return (await fleet.api('GET', `/1.0/instances/${name}?recursion=1&target=${host}`)).body.metadata as Row;
}

async function shell(host: string, name: string, script: string) {
  return fleet.fairlead(['exec', `${host}:${name}`, '--', 'sh', '-c', script]);
}

describe('a container on a host that nobody can reach', () => {
  it('is launched, has an address, is entered, listed, stopped, started and deleted', async () => {
    expect(await fleet.must('launch', 'bb', 'foo:c1')).toContain('c1');
    expect(await fleet.addressOf('c1', 'foo')).toMatch(/^10\./);
    expect((await shell('foo', 'c1', 'hostname')).stdout).toBe('c1\n');
    expect(await fleet.must('list', '--format', 'csv')).toMatch(/^c1,RUNNING,10\..*foo/m);
    await fleet.must('stop', 'foo:c1');
    expect((await instance('c1', 'foo')).status).toBe('Stopped');
    await fleet.must('start', 'foo:c1');
    await fleet.must('pause', 'foo:c1');
    expect((await instance('c1', 'foo')).status).toBe('Frozen');
    await fleet.must('start', 'foo:c1');
    await fleet.must('restart', 'foo:c1');
    expect((await instance('c1', 'foo')).status).toBe('Running');
    await fleet.must('delete', '--force', 'foo:c1');
    expect(await fleet.must('list', '--format', 'csv')).not.toContain('c1');
    expect(
      await fleet.host('foo').must(['find', '/var/lib/fairlead', '-mindepth', '2', '-path', '*/instances/*']),
    ).toBe('');
  });

  it('is on the host it was launched on, under a name that is unique there only', async () => {
    await fleet.must('launch', 'bb', 'foo:twin');
    await fleet.must('launch', 'bb', 'bar:twin');
    expect((await shell('foo', 'twin', 'hostname')).stdout).toBe('twin\n');
    const { code, stderr } = await fleet.fairlead(['stop', 'twin']);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/bar, foo/) });
    await fleet.must('delete', '--force', 'foo:twin', 'bar:twin');
  });

  it('keeps within its limits', async () => {
    await fleet.must(
      'launch',
      'bb',
      'foo:small',
      '-c',
      'limits.memory=64MiB',
      '-c',
      'limits.processes=30',
      '-c',
      'limits.cpu=1',
    );
    expect((await shell('foo', 'small', 'nproc')).stdout).toBe('1\n');
    const forks = await shell('foo', 'small', 'i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done; wait');
    expect(forks.stderr).toMatch(/can't fork/);
    await until('the forked processes to end', async () => (await shell('foo', 'small', 'true')).code === 0);
    const hog = await shell('foo', 'small', 'head -c 200000000 /dev/zero | tail');
    expect(hog.code).not.toBe(0);
    expect((await instance('small', 'foo')).status).toBe('Running');
    await fleet.must('config', 'set', 'foo:small', 'limits.memory', '128MiB');
    expect((await shell('foo', 'small', 'true')).code).toBe(0);
    await fleet.must('delete', '--force', 'foo:small');
  });

  it('is unprivileged: no new rights over kernel or host', async () => {
    await fleet.must('launch', 'bb', 'foo:cage');
    const { stdout } = await shell(
      'foo',
      'cage',
      'cat /proc/self/uid_map; grep -E "CapBnd|Seccomp:" /proc/self/status',
    );
    expect(stdout).toMatch(/^\s+0\s+[1-9]\d{4,}\s+\d{5,}/);
    expect(stdout).toMatch(/Seccomp:\s+2/);
    expect((await shell('foo', 'cage', 'echo 1 > /proc/sys/kernel/panic')).code).not.toBe(0);
    expect((await shell('foo', 'cage', 'mknod /tmp/sda b 8 0')).code).not.toBe(0);
    await fleet.must('delete', '--force', 'foo:cage');
  });
});

describe('when something between breaks', () => {
  beforeAll(async () => {
    await fleet.must('launch', 'bb', 'foo:steady');
  });

  it('the container keeps its pid through restarts of connector and control plane', async () => {
    const { pid } = (await instance('steady', 'foo')).state;
    expect(pid).toBeGreaterThan(1);
    await fleet.stopConnector('foo', 'SIGKILL');
    fleet.startConnector('foo');
    await until('the connector to be back', async () => (await instance('steady', 'foo')).state.pid === pid);
    await fleet.stopControl('SIGKILL');
    await fleet.startControl();
    await fleet.connected('foo');
    expect((await instance('steady', 'foo')).state.pid).toBe(pid);
    expect((await shell('foo', 'steady', 'echo still here')).stdout).toBe('still here\n');
  });

  it.each(['cut', 'reset'] as const)('the host comes back after its link was %s', async (trouble) => {
    await fleet.link('foo')[trouble]();
    await fleet.stopControl();
    await fleet.startControl();
    await fleet.connected('foo', 'offline');
    await fleet.link('foo').up();
    await fleet.connected('foo', 'online', 60_000);
    expect((await shell('foo', 'steady', 'echo back')).stdout).toBe('back\n');
  });

  it('the list answers for an offline host, with the age of what it knows', async () => {
    await fleet.stopConnector('bar');
    await fleet.connected('bar', 'offline');
    await fleet.must('init', 'bb', 'bar:later', '--no-wait');
    const list = await fleet.must('list');
    expect(list).toMatch(/steady\s+\|\s+RUNNING/);
    expect(list).toMatch(/later .*bar.*offline, .* ago/);
    expect(await fleet.must('host', 'list', '--format', 'csv')).toMatch(/bar.*OFFLINE/i);
  });

  it('work for an offline host waits, says why, and is done when the host is back', async () => {
    expect(await fleet.must('operation', 'list', '--format', 'json')).toMatch(/Waiting for host bar, offline since/);
    fleet.startConnector('bar');
    await fleet.connected('bar');
    await until(
      'the waiting work to be done',
      async () => !/RUNNING/.test(await fleet.must('operation', 'list', '--format', 'csv')),
    );
    await fleet.must('start', 'bar:later');
    expect((await shell('bar', 'later', 'hostname')).stdout).toBe('later\n');
  });
});

it('no packet went from host to host and none came in', async () => {
  const { sentToPeers, receivedFromPeers, inbound, toControl } = await fleet.lab.packets();
  expect({ sentToPeers, receivedFromPeers, inbound }).toEqual({ sentToPeers: 0, receivedFromPeers: 0, inbound: 0 });
  expect(Math.min(...toControl)).toBeGreaterThan(100);
});
