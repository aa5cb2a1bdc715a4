import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';

/** Longer than an operation waits for its host, and than an upload lies unfinished. */
const OVER_A_DAY_MS = 25 * 3600_000;
/** Work that waited is done this soon after its host was back. */
const SECONDS = 5_000;
let fleet: Fleet;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'offline', hosts: ['foo'] });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
  await fleet.must('launch', 'bb', 'foo:up');
  await fleet.must('init', 'bb', 'foo:down');
  await fleet.must('init', 'bb', 'foo:old');
});

afterAll(() => fleet[Symbol.asyncDispose]());

interface Operation {
  readonly id: string;
  readonly status: string;
  readonly err: string;
  readonly metadata: Record<string, unknown>;
  readonly resources: { readonly instances?: readonly string[] };
}

async function get<T>(path: string): Promise<T> {
  return (await fleet.api('GET', path)).body.metadata as T;
}

/** The operations that have not ended, in the order they began. */
async function waiting(): Promise<Operation[]> {
  const all = await get<Record<string, Operation[]>>('/1.0/operations?recursion=1');
  return (all['running'] ?? []).toReversed();
}

async function status(name: string): Promise<string> {
  return (await get<{ status: string }>(`/1.0/instances/${name}?target=foo`)).status;
}

let away = false;

async function goOffline(): Promise<void> {
  away = true;
  await fleet.stopConnector('foo');
  await fleet.connected('foo', 'offline');
}

async function comeBack(): Promise<void> {
  if (!away) return;
  away = false;
  fleet.startConnector('foo');
  await fleet.connected('foo');
}

async function allDone(): Promise<void> {
  await until('the waiting work to be done', async () => (await waiting()).length === 0, SECONDS);
}

describe('work for a host that is offline', () => {
  afterEach(comeBack);

  it('waits with its reason, and is done within seconds of the return', async () => {
    await goOffline();
    const asked = performance.now();
    await fleet.must('start', 'foo:down', '--no-wait');
    await fleet.must('stop', 'foo:up', '--no-wait');
    await fleet.must('init', 'bb', 'foo:new', '--no-wait');
    await fleet.must('delete', 'foo:old', '--no-wait');
    // Four starts of a program; an operation that is waited for takes as long as its host is away.
    expect(performance.now() - asked).toBeLessThan(8_000);
    const operations = await waiting();
    const [first] = operations;
    const reasons = operations.map(({ metadata }) => metadata['waiting_progress']);
    expect(reasons).toEqual(Array(4).fill(expect.stringMatching(/^Waiting for host foo, offline since \d{4}-/)));
    expect(await fleet.must('operation', 'show', first?.id ?? '')).toMatch(/Waiting for host foo, offline since/);
    await comeBack();
    await allDone();
    expect(await Promise.all(['down', 'up', 'new'].map(status))).toEqual(['Running', 'Stopped', 'Stopped']);
    expect(await fleet.must('list', '--format', 'csv')).not.toContain('old');
    expect(await readdir(join(fleet.host('foo').stateDir, 'instances'))).toHaveLength(3);
    await fleet.must('start', 'foo:up');
    await fleet.must('stop', '--force', 'foo:down');
    await fleet.must('delete', 'foo:new');
  });

  it('may be cancelled, and is not done then', async () => {
    await goOffline();
    await fleet.must('start', 'foo:down', '--no-wait');
    const [start] = await waiting();
    await fleet.must('operation', 'delete', start?.id ?? '');
    expect(await get<Operation>(`/1.0/operations/${start?.id}`)).toMatchObject({ status: 'Cancelled' });
    await comeBack();
    await sleep(1_000);
    expect(await status('down')).toBe('Stopped');
  });

  it('is one intent for an instance: a stale restart does not revive what was stopped', async () => {
    await goOffline();
    await fleet.must('restart', 'foo:up', '--no-wait');
    const { code, stderr } = await fleet.fairlead(['stop', 'foo:up']);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/busy: a restart is under way.*cancel it/),
    });
    const [restart] = await waiting();
    await fleet.must('operation', 'delete', restart?.id ?? '');
    await fleet.must('stop', '--force', 'foo:up', '--no-wait');
    await comeBack();
    await allDone();
    await sleep(1_000);
    expect(await status('up')).toBe('Stopped');
    await fleet.must('start', 'foo:up');
  });

  it('does not revive what stopped by itself meanwhile', async () => {
    // It stops a while after its host has gone.
    await fleet.must('exec', 'foo:up', '--', 'sh', '-c', '(sleep 2; poweroff) </dev/null >/dev/null 2>&1 &');
    await goOffline();
    await fleet.must('restart', 'foo:up', '--no-wait');
    const [restart] = await waiting();
    await sleep(3_000);
    await comeBack();
    await allDone();
    expect(await get<Operation>(`/1.0/operations/${restart?.id}`)).toMatchObject({
      status: 'Failure',
      err: expect.stringMatching(/is stopped, so it cannot restart/),
    });
    // The host's report comes a moment after its first answers.
    await until('the registry to know', async () => (await status('up')) === 'Stopped', SECONDS);
    await fleet.must('start', 'foo:up');
  });

  it('that needs the host now is refused with the reason', async () => {
    await goOffline();
    const { code, stderr } = await fleet.fairlead(['exec', 'foo:up', '--', 'true']);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Host "foo" is offline since .*; a command can run when it is back/),
    });
  });
});

it('after a day work that waited has failed with its reason, is not done, and uploads nobody finished are gone', async () => {
  await goOffline();
  await fleet.must('start', 'foo:down', '--no-wait');
  const [start] = await waiting();
  await abandonUpload();
  await fleet.stopControl();
  await fleet.startControl('--ahead', String(OVER_A_DAY_MS));

  expect(await get<Operation>(`/1.0/operations/${start?.id}`)).toMatchObject({
    status: 'Failure',
    err: expect.stringMatching(/^Gave up: host foo is offline since .* Nothing was changed; try again/),
  });
  expect(await readdir(join(fleet.dataDir, 'objects/upload'))).toHaveLength(1);
  await comeBack();
  await sleep(1_000);
  expect(await status('down')).toBe('Stopped');
  expect(await waiting()).toEqual([]);
  // Begun anew, the import leaves nothing but its image.
  await fleet.must('image', 'import', (await ensureImage('debian')).path);
  expect(await readdir(join(fleet.dataDir, 'objects/upload'))).toHaveLength(2);
});

/** An import whose client and control plane are killed in the middle: parts are there that nobody will ever finish. */
async function abandonUpload(): Promise<void> {
  const before = (await readdir(join(fleet.dataDir, 'objects/upload'))).length;
  const [program = '', ...args] = fleet.command(['image', 'import', (await ensureImage('debian')).path]);
  const client = spawn(program, args, { stdio: 'ignore' });
  const gone = once(client, 'exit');
  await until('a part to arrive', async () => (await readdir(join(fleet.dataDir, 'objects/upload'))).length > before);
  await fleet.stopControl('SIGKILL');
  client.kill('SIGKILL');
  await gone;
}
