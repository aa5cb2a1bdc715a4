import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';

let fleet: Fleet;
const HOSTS = ['foo', 'bar'] as const;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'move', hosts: HOSTS });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
});

afterAll(() => fleet[Symbol.asyncDispose]());

afterEach(async () => {
  for (const { name, location } of await instances()) await fleet.must('delete', '--force', `${location}:${name}`);
});

interface Row {
  readonly name: string;
  readonly status: string;
  readonly location: string;
}

interface Move {
  readonly instance: string;
  readonly state: string;
  readonly downtime_ms: number | null;
  readonly bytes: number;
}

async function instances(): Promise<Row[]> {
  return (await fleet.api('GET', '/1.0/instances?recursion=1')).body.metadata as Row[];
}

async function moves(): Promise<Move[]> {
  return (await fleet.api('GET', '/1.0/fleet/moves')).body.metadata as Move[];
}

async function shell(place: string, script: string): Promise<string> {
  const { code, stdout, stderr } = await fleet.fairlead(['exec', place, '--', 'sh', '-c', script]);
  if (code !== 0) throw new Error(`${place}: ${script}: ${stderr}`);
  return stdout;
}

/** A container that counts ten times a second in its memory, and nowhere else. */
async function launchTicking(place: string): Promise<void> {
  await fleet.must('launch', 'bb', place, '-c', 'environment.TICK=0.1', '-c', 'migration.stateful=true');
  await until(`${place} to tick`, async () => (await ticks(place)) > 3);
}

async function ticks(place: string): Promise<number> {
  return Number(await shell(place, 'cat /run/ticks'));
}

/** What LXC itself says on a host of its containers: RUNNING, FROZEN or STOPPED. */
async function states(host: string): Promise<string[]> {
  const { stdout } = await fleet.host(host).exec(['lxc-ls', '-P', '/var/lib/fairlead/instances', '-f', '-F', 'STATE']);
  return stdout
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter(Boolean);
}

/** Where a copy runs, whatever the registry says. */
async function running(): Promise<string[]> {
  const all = await Promise.all(HOSTS.map(async (host) => (await states(host)).map((state) => ({ host, state }))));
  return all.flat().flatMap(({ host, state }) => (state === 'RUNNING' ? [host] : []));
}

describe('a live move between two hosts that cannot reach each other', () => {
  it('goes there and back: memory counts on, files and address stay, no packet passes between the hosts', async () => {
    await launchTicking('foo:c1');
    const address = await fleet.addressOf('c1', 'foo');
    await shell('foo:c1', 'echo before > /root/kept; mkdir -p "/root/odd name"; ln -s kept /root/link');
    let before = await ticks('foo:c1');
    let at = performance.now();
    for (const [from, to] of [
      ['foo', 'bar'],
      ['bar', 'foo'],
    ] as const) {
      const said = await fleet.must('move', `${from}:c1`, `${to}:`);
      expect(said).toMatch(new RegExp(`^c1 is on ${to} \\(.*stood still for [\\d.]+ s`));
      const after = await ticks(`${to}:c1`);
      const elapsed = (performance.now() - at) / 100;
      // It went on from where it was: it never began anew, and did not count while it stood still.
      expect(after).toBeGreaterThan(before);
      expect(after - before).toBeLessThan(elapsed + 5);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await ticks(`${to}:c1`)).toBeGreaterThan(after);
      expect(await running()).toEqual([to]);
      expect(await fleet.addressOf('c1', to)).toBe(address);
      expect(await shell(`${to}:c1`, 'cat /root/link; ls -d /root/odd*')).toBe('before\n/root/odd name\n');
      await shell(`${to}:c1`, 'rm -rf "/root/odd name"; mkdir "/root/odd name"');
      [before, at] = [await ticks(`${to}:c1`), performance.now()];
    }
    const [back, there] = await moves();
    console.log(`live moves: stood still for ${there?.downtime_ms ?? 0} and ${back?.downtime_ms ?? 0} ms`);
    expect(back).toMatchObject({ state: 'DONE', downtime_ms: expect.any(Number) as number });
    expect(await fleet.lab.packets()).toMatchObject({ sentToPeers: 0, receivedFromPeers: 0, inbound: 0 });
  });
});

describe('a cold move', () => {
  it('of a stopped one brings its files, under another name', async () => {
    await fleet.must('launch', 'bb', 'foo:c2');
    await shell('foo:c2', 'echo kept > /root/kept; rm /etc/group');
    await fleet.must('stop', 'foo:c2');
    await fleet.must('move', 'foo:c2', 'bar:c3', '--no-keep');
    expect(await instances()).toMatchObject([{ name: 'c3', location: 'bar', status: 'Stopped' }]);
    await fleet.must('start', 'bar:c3');
    expect(await shell('bar:c3', 'cat /root/kept; test ! -e /etc/group && echo gone')).toBe('kept\ngone\n');
  });

  it('of a running one stops it and starts it there', async () => {
    await launchTicking('foo:c4');
    const before = await ticks('foo:c4');
    await fleet.must('move', 'foo:c4', 'bar:', '--cold');
    expect(await running()).toEqual(['bar']);
    await until('it ticks anew', async () => (await ticks('bar:c4').catch(() => 0)) > 0);
    expect(await ticks('bar:c4')).toBeLessThan(before + 600);
  });
});

describe('a refused move', () => {
  it('touches nothing', async () => {
    await launchTicking('foo:c5');
    await fleet.must('launch', 'bb', 'bar:taken');
    const before = await ticks('foo:c5');
    const refusals = await Promise.all([
      fleet.fairlead(['move', 'foo:c5', 'bar:taken']),
      fleet.fairlead(['move', 'foo:c5', 'foo:']),
      fleet.fairlead(['move', 'foo:c5', 'nowhere:']),
    ]);
    expect(refusals.map(({ code }) => code)).toEqual([1, 1, 1]);
    await fleet.stopConnector('bar');
    await fleet.connected('bar', 'offline');
    const { code, stderr } = await fleet.fairlead(['move', 'foo:c5', 'bar:']);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/bar is offline since/) as string,
    });
    fleet.startConnector('bar');
    await fleet.connected('bar');
    expect(await ticks('foo:c5')).toBeGreaterThan(before);
  });

  it('--check says how it would go', async () => {
    await launchTicking('foo:c6');
    expect(await fleet.must('move', 'foo:c6', 'bar:', '--check')).toMatch(/^c6 can be moved to bar live/);
    expect(await running()).toEqual(['foo']);
  });
});

/** What is killed, and in which state of the move. */
const KILLS = [
  ['the connector of the source', 'PRECOPY', () => restartConnector('foo')],
  ['the connector of the source', 'QUIESCING', () => restartConnector('foo')],
  ['the connector of the target', 'PREPARING', () => restartConnector('bar')],
  ['the connector of the target', 'COMMITTED', () => restartConnector('bar')],
  ['the control plane', 'QUIESCING', restartControl],
  ['the control plane', 'PREPARING', restartControl],
  ['the control plane', 'COMMITTED', restartControl],
] as const;

async function restartConnector(host: string): Promise<void> {
  await fleet.stopConnector(host, 'SIGKILL');
  fleet.startConnector(host);
}

async function restartControl(): Promise<void> {
  await fleet.stopControl('SIGKILL');
  await fleet.startControl();
}

describe('a kill -9 during a live move', () => {
  it.each(KILLS)('of %s in %s ends with exactly one running copy', async (_what, state, kill) => {
    await launchTicking('foo:k');
    const before = await ticks('foo:k');
    await fleet.must('move', 'foo:k', 'bar:', '--no-wait');
    let seen = '';
    await until(`the move to be ${state}, or past it`, async () => {
      seen = (await moves()).find(({ instance }) => instance === 'k')?.state ?? '';
      return seen === state || ['DONE', 'ABORTED'].includes(seen);
    });
    await kill();
    await until(
      'the move to end',
      async () => {
        // The control plane may just be on its way back.
        const now = await moves().catch(() => []);
        return (
          now.filter(({ instance }) => instance === 'k').every(({ state }) => ['DONE', 'ABORTED'].includes(state)) &&
          now.length > 0
        );
      },
      120_000,
    );
    const [move] = await moves();
    console.log(`killed in ${seen}: ${move?.state ?? ''}`);
    for (const host of HOSTS) await fleet.connected(host);
    const place = move?.state === 'DONE' ? 'bar' : 'foo';
    await until('one copy to run', async () => (await running()).length === 1);
    expect(await running()).toEqual([place]);
    expect(await instances()).toMatchObject([{ name: 'k', location: place, status: 'Running' }]);
    const after = await ticks(`${place}:k`);
    expect(after).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await ticks(`${place}:k`)).toBeGreaterThan(after);
  });
});
