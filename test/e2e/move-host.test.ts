/** Moves between two real connectors on two hosts that cannot meet, with everything real but the control plane. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { HostCommand, InstanceSpec } from '#shared/link/commands.ts';
import { Lab } from '../lab/lab.ts';
import { MoveWorld } from './move-host.world.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const LXCPATH = '/var/lib/fairlead/instances';

let lab: Lab;
let world: MoveWorld;
beforeAll(async () => {
  lab = await Lab.up({ name: 'move', hosts: 2, binds: [{ source: PROJECT, target: '/fairlead' }] });
  world = new MoveWorld(lab);
  await world.open();
});
afterAll(async () => {
  await world?.close();
  await lab?.down();
});

/** An instance that counts in memory, on host 1. */
async function counting(name: string): Promise<InstanceSpec> {
  const spec: InstanceSpec = {
    id: randomUUID(),
    name,
    project: 'default',
    epoch: 1,
    architecture: 'x86_64',
    config: { 'migration.stateful': 'true', 'environment.TICK': '0.1' },
    devices: { eth0: { type: 'nic', network: 'flbr0', name: 'eth0' } },
    image: { fingerprint: world.fingerprint, size: world.imageBytes },
  };
  const foo = await world.at(1);
  await foo.must('instance', { kind: 'create', instance: spec, start: true });
  await inside(1, spec, 'echo one > /root/note; rm /etc/hosts; until [ -s /run/ticks ]; do sleep 0.1; done');
  return spec;
}

async function inside(host: number, { id }: InstanceSpec, script: string): Promise<string> {
  return (await lab.host(host).must(['lxc-attach', '-P', LXCPATH, '-n', id, '--', 'sh', '-c', script])).trim();
}
const ticks = async (host: number, spec: InstanceSpec): Promise<number> =>
  Number(await inside(host, spec, 'cat /run/ticks'));
/** The counter as the host sees it, without LXC, which does not answer for what is parked. */
async function frozenTicks(host: number, spec: InstanceSpec): Promise<number> {
  const script = `pid=$(cat $(dirname $(find /sys/fs/cgroup/freezer -path '*lxc.payload.${spec.id}*' -name cgroup.procs | head -1))/cgroup.procs | head -1); cat /proc/$pid/root/run/ticks`;
  return Number((await lab.host(host).must(['sh', '-c', script])).trim());
}
const runs = async (host: number, { id }: InstanceSpec): Promise<boolean> =>
  (await lab.host(host).must(['cat', '/proc/net/unix'])).includes(`${id}/command`);

/** Everything of a move before its commit. */
async function upTo(spec: InstanceSpec, stage: 'parked' | 'prepared', live = true, from = 1) {
  const [foo, bar] = [await world.at(from), await world.at(3 - from)];
  const move = randomUUID();
  const about = { move, attempt: 1 };
  const arriving = { ...spec, epoch: spec.epoch + 1 };
  const sourceKey = await foo.ready;
  await bar.must('received', { kind: 'receive', ...about, instance: arriving, sourceKey, manifests: [] });
  const sent = await foo.must('sent', { kind: 'send', ...about, id: spec.id, epoch: spec.epoch, pass: 1 });
  await bar.must('received', { kind: 'receive', ...about, instance: arriving, sourceKey, manifests: [sent.manifest] });
  await inside(from, spec, 'echo two > /root/late; rm -rf /root/note; mkdir /root/note');
  const began = performance.now();
  const parked = await foo.must('parked', {
    kind: 'park',
    ...about,
    id: spec.id,
    epoch: spec.epoch,
    live,
    timeout: 30,
  });
  const parkMs = performance.now() - began;
  if (stage === 'parked') return { move, arriving, parked, parkMs, prepareMs: 0, foo, bar };
  const manifests = [sent.manifest, ...parked.manifests];
  const start = !live && parked.running;
  await bar.must('prepared', { kind: 'prepare', ...about, instance: arriving, sourceKey, manifests, live, start });
  return { move, arriving, parked, parkMs, prepareMs: performance.now() - began - parkMs, foo, bar };
}

describe('a live move', () => {
  it('carries memory, files and address; the counter neither repeats nor jumps; the source ends', async () => {
    const spec = await counting('walker');
    const address = await until(() => inside(1, spec, 'ip -4 -o addr show eth0 | awk "{print \\$4}"'));
    const check = await (await world.at(1)).must('source-check', { kind: 'check-source', id: spec.id, live: true });
    expect(check).toMatchObject({ running: true, blockers: [] });
    const { disk, memory, criu, idmap } = check;
    const there = { instance: { ...spec, epoch: 2 }, disk, memory, live: true, ...(criu && { criu }), idmap };
    expect(await (await world.at(2)).must('target-check', { kind: 'check-target', ...there })).toMatchObject({
      blockers: [],
    });

    const before = await ticks(1, spec);
    const { move, foo, bar, parkMs, prepareMs } = await upTo(spec, 'prepared');
    const stood = await frozenTicks(1, spec);
    await sleep(500);
    expect([await frozenTicks(1, spec), await frozenTicks(2, spec)]).toEqual([stood, stood]);
    expect(stood).toBeGreaterThanOrEqual(before);
    const began = performance.now();
    await bar.must('instance', { kind: 'adopt', move, id: spec.id, epoch: 2 });
    const adoptMs = performance.now() - began;
    const first = await ticks(2, spec);
    expect(first).toBeGreaterThanOrEqual(stood);
    expect(first).toBeLessThan(stood + 30);
    await foo.must('retired', { kind: 'retire', move, id: spec.id, epoch: 1 });
    expect(await runs(1, spec)).toBe(false);
    await sleep(500);
    expect(await ticks(2, spec)).toBeGreaterThan(first);
    console.log(
      `park ${parkMs.toFixed(0)} ms, prepare ${prepareMs.toFixed(0)} ms, adopt ${adoptMs.toFixed(0)} ms; away ${(parkMs + prepareMs + adoptMs).toFixed(0)} ms`,
    );

    expect(await inside(2, spec, 'cat /root/late; ls -d /root/note/ /etc/hosts 2>&1 || :')).toBe(
      'two\nls: /etc/hosts: No such file or directory\n/root/note/',
    );
    expect(
      await inside(
        2,
        spec,
        'ip -4 -o addr show eth0 | awk "{print \\$4}"; ping -c 1 -W 2 10.58.0.1 >/dev/null && echo reached',
      ),
    ).toBe(`${address}\nreached`);
    expect(await foo.must('deleted', { kind: 'forget', move, id: spec.id })).toMatchObject({ id: spec.id });
    expect(await lab.host(1).must(['ls', LXCPATH])).not.toContain(spec.id);
  });
});

describe('before the commit', () => {
  it('a live move is taken back: the source goes on with its memory, the target keeps nothing', async () => {
    const spec = await counting('stayer');
    const { move, foo, bar } = await upTo(spec, 'prepared');
    const stood = await frozenTicks(1, spec);
    await expect(foo.command({ kind: 'measure', id: spec.id })).rejects.toMatchObject({ code: 'busy' });
    expect(await bar.command({ kind: 'discard', move, id: spec.id })).toMatchObject({ kind: 'deleted' });
    expect(await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 })).toMatchObject({
      report: { status: 'Running', epoch: 1 },
    });
    const after = await ticks(1, spec);
    expect(after).toBeGreaterThanOrEqual(stood);
    expect(after).toBeLessThan(stood + 30);
    await sleep(400);
    expect(await ticks(1, spec)).toBeGreaterThan(after);
    await until(() => inside(1, spec, 'ping -c 1 -W 1 10.58.0.1 >/dev/null && echo reached || :'));
    expect(await runs(2, spec)).toBe(false);
    expect(await lab.host(2).must(['ls', LXCPATH])).not.toContain(spec.id);
    expect(await lab.host(2).must(['ls', '/var/lib/fairlead/moves'])).toBe('');
    // Late, and again: nothing to do.
    expect(await bar.command({ kind: 'discard', move, id: spec.id })).toMatchObject({ kind: 'deleted' });
    expect(await foo.command({ kind: 'unpark', move, id: spec.id, epoch: 1 })).toMatchObject({ kind: 'instance' });
    await foo.must('deleted', await stopAndDelete(spec));
  });

  it('CRIU that is killed while the source is parked does not let it run; taken back, it goes on', async () => {
    const spec = await counting('frozen');
    const { move, foo } = await upTo(spec, 'parked');
    const marker = `/var/lib/fairlead/checkpoints/${spec.id}/parked`;
    const criu = (await lab.host(1).must(['cut', '-d ', '-f1', marker])).trim();
    const stood = await frozenTicks(1, spec);
    await lab.host(1).must(['kill', '-9', criu]);
    await sleep(700);
    expect(await frozenTicks(1, spec)).toBe(stood);
    await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 });
    const after = await ticks(1, spec);
    expect(after).toBeGreaterThanOrEqual(stood);
    expect(after).toBeLessThan(stood + 30);
    await until(() => inside(1, spec, 'ping -c 1 -W 1 10.58.0.1 >/dev/null && echo reached || :'));
    await foo.must('deleted', await stopAndDelete(spec));
  });

  it('connectors that restart find what is parked: it can be taken back, or go on', async () => {
    const spec = await counting('patient');
    const { move } = await upTo(spec, 'prepared');
    const [foo, bar] = [await world.restart(1), await world.restart(2)];
    const stood = await frozenTicks(1, spec);
    await bar.must('instance', { kind: 'adopt', move, id: spec.id, epoch: 2 });
    expect(await ticks(2, spec)).toBeGreaterThanOrEqual(stood);
    await foo.must('retired', { kind: 'retire', move, id: spec.id, epoch: 1 });
    expect(await runs(1, spec)).toBe(false);
    // Home again: the tombstone there gives way.
    const back = await upTo({ ...spec, epoch: 2 }, 'prepared', true, 2);
    await foo.must('instance', { kind: 'adopt', move: back.move, id: spec.id, epoch: 3 });
    await bar.must('retired', { kind: 'retire', move: back.move, id: spec.id, epoch: 2 });
    expect(await ticks(1, spec)).toBeGreaterThan(stood);
    // The first move's retention ends only now: it must not touch what came back.
    await foo.must('deleted', { kind: 'forget', move, id: spec.id });
    await bar.must('deleted', { kind: 'forget', move: back.move, id: spec.id });
    expect(await ticks(1, spec)).toBeGreaterThan(stood);
    await foo.must('deleted', await stopAndDelete({ ...spec, epoch: 3 }));
  });

  it('a source that reboots stays off until it is told, then starts', async () => {
    const spec = await counting('rebooted');
    const { move } = await upTo(spec, 'parked');
    await world.kill(1);
    await lab.host(1).reboot();
    const foo = await world.at(1);
    await sleep(1_000);
    expect(await runs(1, spec)).toBe(false);
    expect(await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 })).toMatchObject({
      report: { status: 'Running' },
    });
    expect(await inside(1, spec, 'cat /root/late')).toBe('two');
    await foo.must('deleted', await stopAndDelete(spec));
  });
});

describe('after the commit', () => {
  it('a target whose CRIU was killed while parked brings the memory back once more', async () => {
    const spec = await counting('twice');
    const { move, foo, bar } = await upTo(spec, 'prepared');
    const stood = await frozenTicks(1, spec);
    const marker = `/var/lib/fairlead/checkpoints/${spec.id}/parked`;
    await lab.host(2).must(['kill', '-9', (await lab.host(2).must(['cut', '-d ', '-f1', marker])).trim()]);
    expect(await bar.must('instance', { kind: 'adopt', move, id: spec.id, epoch: 2 })).toMatchObject({
      report: { status: 'Running' },
    });
    const after = await ticks(2, spec);
    expect(after).toBeGreaterThanOrEqual(stood);
    expect(after).toBeLessThan(stood + 30);
    await foo.must('retired', { kind: 'retire', move, id: spec.id, epoch: 1 });
  });
});

describe('a move that is cancelled', () => {
  it('while the source is being parked leaves it running as if nothing had been', async () => {
    const spec = await counting('cancelled');
    const foo = await world.at(1);
    const move = randomUUID();
    for (const afterMs of [20, 150, 450]) {
      const before = await ticks(1, spec);
      const id = randomUUID();
      const park = foo.command({ kind: 'park', move, attempt: 1, id: spec.id, epoch: 1, live: true, timeout: 30 }, id);
      const outcome = park.then(
        ({ kind }) => kind,
        (error: { code: string }) => error.code,
      );
      await sleep(afterMs);
      foo.send({ t: 'cancel', id });
      expect(['cancelled', 'parked']).toContain(await outcome);
      await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 });
      const after = await ticks(1, spec);
      expect(after).toBeGreaterThanOrEqual(before);
      await sleep(400);
      expect(await ticks(1, spec)).toBeGreaterThan(after);
    }
    await foo.must('deleted', await stopAndDelete(spec));
  });
});

describe('a cold move', () => {
  it('of a running instance stops it cleanly, starts it on the target and brings the same files', async () => {
    const spec = await counting('cold');
    world.store.failPuts = 2;
    const { move, parked, foo, bar } = await upTo(spec, 'prepared', false);
    expect(parked).toMatchObject({ running: true });
    expect([await runs(1, spec), await runs(2, spec)]).toEqual([false, false]);
    expect(await bar.must('instance', { kind: 'adopt', move, id: spec.id, epoch: 2 })).toMatchObject({
      report: { status: 'Running', epoch: 2 },
    });
    expect(await inside(2, spec, 'cat /root/late')).toBe('two');
    await foo.must('retired', { kind: 'retire', move, id: spec.id, epoch: 1 });
    await expect(
      foo.command({ kind: 'state', id: spec.id, epoch: 1, action: 'start', force: false, timeout: 5 }),
    ).rejects.toMatchObject({ code: 'busy' });
  });

  it('is taken back by starting again', async () => {
    const spec = await counting('warm');
    const { move, foo } = await upTo(spec, 'parked', false);
    expect(await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 })).toMatchObject({
      report: { status: 'Running' },
    });
    await foo.must('deleted', await stopAndDelete(spec));
  });
});

describe('what arrives damaged', () => {
  it('is not used: a manifest of another key, a chunk with another byte', async () => {
    const spec = await counting('damaged');
    const { move, arriving, parked, foo, bar } = await upTo(spec, 'parked');
    const about = { kind: 'prepare', move, attempt: 1, instance: arriving, live: true, start: false } as const;
    const wrongKey = { ...(await foo.ready), x: (await bar.ready).x };
    const manifests = parked.manifests;
    await expect(bar.command({ ...about, sourceKey: wrongKey, manifests })).rejects.toMatchObject({
      code: 'forbidden',
    });
    for (const [key, bytes] of world.store.objects) {
      if (!key.includes(move) || !key.includes('/memory-0')) continue;
      const changed = Buffer.from(bytes);
      changed[changed.length >> 1]! ^= 1;
      world.store.objects.set(key, changed);
    }
    await lab.host(2).must(['sh', '-c', `rm -f /var/lib/fairlead/moves/${move}/chunks-1/memory-*`]);
    await expect(bar.command({ ...about, sourceKey: await foo.ready, manifests })).rejects.toMatchObject({
      code: 'unavailable',
    });
    await bar.must('deleted', { kind: 'discard', move, id: spec.id });
    await foo.must('instance', { kind: 'unpark', move, id: spec.id, epoch: 1 });
    await foo.must('deleted', await stopAndDelete(spec));
  });
});

/** Stops it by force; returns the command that deletes it. */
async function stopAndDelete({ id, epoch }: InstanceSpec): Promise<HostCommand> {
  await (await world.at(1)).must('instance', { kind: 'state', id, epoch, action: 'stop', force: true, timeout: 10 });
  return { kind: 'delete', id, epoch };
}

async function until(look: () => Promise<string>): Promise<string> {
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await look();
    if (found !== '') return found;
    await sleep(100);
  }
  throw new Error('waited in vain');
}
