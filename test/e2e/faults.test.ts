import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { HANDSHAKE_MS } from '#shared/link/limits.ts';
import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';
import { openTarpit } from '../lab/tarpit.ts';

/** Room for an unpacked image and a little more, so that it can be filled. */
const DISK = '700M';
const HOSTS = ['foo', 'bar', 'baz'] as const;
let fleet: Fleet;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'faults', hosts: HOSTS, disk: DISK });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
  await Promise.all(['bar', 'baz'].map((host) => fleet.must('launch', 'bb', `${host}:steady`)));
});

afterAll(() => fleet[Symbol.asyncDispose]());

/** The files below a folder with bytes in them. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const sizes = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return paths.filter((_, index) => (sizes[index]?.size ?? 0) > 0);
}

const objects = () => join(fleet.dataDir, 'objects');
const staging = (host: string) => join(fleet.host(host).stateDir, 'images/.staging');

/** A launch is in the middle of its download, or of unpacking what was downloaded. */
async function downloading(host: string): Promise<void> {
  await until(`${host} to download`, async () =>
    (await filesIn(staging(host))).some((path) => path.endsWith('file-0')),
  );
}
async function unpacking(host: string): Promise<void> {
  await until(`${host} to unpack`, async () =>
    (await filesIn(staging(host))).some((path) => path.includes('/rootfs/')),
  );
}

/** Folders of instances, images half made, and mounts of a host. */
async function holdings(host: string) {
  const { stateDir } = fleet.host(host);
  const instances = await readdir(join(stateDir, 'instances'));
  const halfMade = await readdir(join(stateDir, 'images/.staging')).catch(() => []);
  return {
    instances: instances.length,
    halfMade,
    roles: (await Promise.all(instances.map((id) => readdir(join(stateDir, 'instances', id))))).filter((files) =>
      files.includes('role.json'),
    ).length,
  };
}

/** KiB that are free for a host's instances and images. */
async function available(host: string): Promise<number> {
  const answer = await fleet.host(host).must(['df', '--output=avail', '/var/lib/fairlead']);
  return Number(answer.split('\n')[1]);
}

async function operations(): Promise<string> {
  return fleet.must('operation', 'list', '--format', 'csv');
}

async function names(host: string): Promise<string[]> {
  const { metadata } = (await fleet.api('GET', '/1.0/instances?recursion=1')).body;
  return (metadata as { name: string; location: string }[])
    .filter((row) => row.location === host)
    .map(({ name }) => name);
}

async function pidOf(name: string, host: string): Promise<number> {
  const { metadata } = (await fleet.api('GET', `/1.0/instances/${name}?recursion=1&target=${host}`)).body;
  return (metadata as { state: { pid: number } }).state.pid;
}

function counting(lines: number): string {
  return `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); sleep 0.1; done`;
}

/** What a shell in an instance says, and how that ends. */
function shell(instance: string, script: string) {
  return fleet.fairlead(['exec', instance, '--', 'sh', '-c', script]);
}

async function restartControl(): Promise<void> {
  await fleet.stopControl('SIGKILL');
  await sleep(500);
  await fleet.startControl();
}

it('kill -9 of the control plane mid-launch, mid-exec, mid-upload and mid-check: everything ends as if nothing had been', async () => {
  const { path, fingerprint } = await ensureImage('debian');
  await fleet.link('foo').rate(2);
  const launch = fleet.fairlead(['launch', 'bb', 'foo:slow']);
  const exec = shell('bar:steady', counting(60));
  await downloading('foo');
  const imported = fleet.fairlead(['image', 'import', path, '--alias', 'deb']);
  await until('the upload to arrive', async () => (await filesIn(join(objects(), '.incoming'))).length > 0);
  await restartControl();
  await until('the check of the image', async () => (await operations()).includes('Importing image'));
  await sleep(300);
  await restartControl();

  expect(await imported).toMatchObject({ code: 0, stdout: expect.stringContaining(fingerprint) });
  const { code, stdout } = await exec;
  expect(code).toBe(0);
  expect(stdout).toBe(Array.from({ length: 60 }, (_, n) => `line ${n}\n`).join(''));
  expect(await launch).toMatchObject({ code: 0 });
  await fleet.link('foo').up();
  expect((await shell('foo:slow', 'hostname')).stdout).toBe('slow\n');
  expect(await holdings('foo')).toEqual({ instances: 1, halfMade: [], roles: 1 });
  await until('all operations to end', async () => !(await operations()).includes('RUNNING'));
  expect((await readdir(join(objects(), '.incoming'))).length).toBe(0);
});

it('kill -9 of the connector mid-launch: no half-made instance, no second one, a session ends with its reason', async () => {
  const pid = await pidOf('steady', 'bar');
  await fleet.link('foo').rate(100);
  const launches = ['foo', 'baz'].map((host) => fleet.fairlead(['launch', 'deb', `${host}:half`]));
  const exec = shell('bar:steady', 'echo begun; sleep 300');
  await Promise.all([downloading('foo'), unpacking('baz')]);
  await Promise.all(HOSTS.map((host) => fleet.stopConnector(host, 'SIGKILL')));
  for (const host of HOSTS) fleet.startConnector(host);

  for (const launch of launches) {
    expect(await launch).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/restarted while creating.*create it again/),
    });
  }
  expect(await exec).toMatchObject({ code: 1, stderr: expect.stringMatching(/restarted while this exec ran/) });
  expect(await holdings('foo')).toEqual({ instances: 1, halfMade: [], roles: 1 });
  expect(await holdings('baz')).toEqual({ instances: 1, halfMade: [], roles: 1 });
  expect(await names('foo')).toEqual(['slow']);
  expect(await names('baz')).toEqual(['steady']);
  expect(await pidOf('steady', 'bar')).toBe(pid);
  await fleet.link('foo').up();
  await fleet.must('init', 'deb', 'foo:half');
  expect(await holdings('foo')).toEqual({ instances: 2, halfMade: [], roles: 2 });
});

it('a host that reboots mid-launch comes back with what ran, without what was half made', async () => {
  await fleet.link('baz').rate(100);
  const launch = fleet.fairlead(['launch', 'deb', 'baz:half']);
  await downloading('baz');
  await fleet.host('baz').reboot();
  fleet.startConnector('baz');
  expect(await launch).toMatchObject({ code: 1, stderr: expect.stringMatching(/restarted while creating/) });
  await until('what ran to run again', async () => (await shell('baz:steady', 'true')).code === 0);
  expect(await holdings('baz')).toEqual({ instances: 1, halfMade: [], roles: 1 });
  await fleet.link('baz').up();
});

it('a disk that fills while an image is unpacked fails the launch with the reason, and holds nothing of it', async () => {
  const host = fleet.host('baz');
  await host.fillDisk();
  await host.must(['truncate', '-s', '-120M', '/var/lib/fairlead/.filler']);
  const before = await available('baz');
  const { code, stderr } = await fleet.fairlead(['launch', 'deb', 'baz:full']);
  expect({ code, stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no room left for the image; nothing of it was kept. Free space/),
  });
  expect(await holdings('baz')).toEqual({ instances: 1, halfMade: [], roles: 1 });
  expect(await available('baz')).toBeGreaterThan(before - 1024);
  expect((await shell('baz:steady', 'echo unharmed')).stdout).toBe('unharmed\n');
  await host.freeDisk();
  await fleet.must('init', 'deb', 'baz:full');
});

it('a handshake that hangs in TCP, in TLS or after the 101 is given up, and the next one succeeds', async () => {
  let first: string | undefined;
  await fleet.stopControl('SIGKILL');
  await fleet.link('baz').drop();
  const tarpit = await openTarpit(fleet.dataDir, new URL(fleet.url).host, (from) => from === (first ??= from));
  await until('two handshakes to hang', async () => tarpit.hanging.tls.size === 1 && tarpit.hanging.welcome.size === 1);
  await tarpit.leave();
  await fleet.startControl();
  await fleet.link('baz').up();
  // HANDSHAKE_MS, and the wait before the next attempt.
  await Promise.all(HOSTS.map((host) => fleet.connected(host, 'online', HANDSHAKE_MS + 8_000)));
  tarpit.close();
  expect((await shell('bar:steady', 'echo back')).stdout).toBe('back\n');
});
