import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { encodeFrame } from '#shared/link/frames.ts';
import { Counter, openDatabase } from '../database.ts';
import { autostart, autostartOrder } from './autostart.ts';
import { fakeHost, specOf } from './fake-host.ts';
import { Journal, JOURNAL_KEPT } from './journal.ts';
import { Lane } from './lanes.ts';
import { packReport } from './report.ts';
import type { Role } from './roles.ts';

function role(name: string, config: Record<string, string> = {}, change: Partial<Role> = {}): Role {
  return { version: 1, role: 'owner', ready: true, power: 'off', spec: specOf({ name, config }), ...change };
}

describe('autostart', () => {
  it('starts what says so, and without a word what ran; by priority, then by name', () => {
    const roles = [
      role('zed', { 'boot.autostart': 'true' }),
      role('off'),
      role('ran', {}, { power: 'on' }),
      role('never', { 'boot.autostart': 'false' }, { power: 'on' }),
      role('first', { 'boot.autostart': '1', 'boot.autostart.priority': '10' }),
      role('half', { 'boot.autostart': 'true' }, { ready: false }),
    ];
    expect(autostartOrder(roles).map(({ spec }) => spec.name)).toEqual(['first', 'ran', 'zed']);
  });

  it('needs no link, waits the delays, and goes on behind one that fails', async () => {
    const fake = await fakeHost();
    for (const [name, delay] of [
      ['a', '5'],
      ['b', '0'],
      ['c', ''],
    ] as const) {
      const { id } = (
        await fake.host.roles.add(specOf({ name, config: { 'boot.autostart': 'true', 'boot.autostart.delay': delay } }))
      ).spec;
      await fake.host.roles.change(id, { ready: true });
    }
    fake.fail = { at: 'start', error: new Error('no') };
    const slept: number[] = [];
    await autostart(
      fake.host,
      (_id, task) => task(),
      async (ms) => void slept.push(ms),
    );
    expect(fake.acts).toEqual(['start a', 'start b', 'start c']);
    expect([slept, fake.power.size]).toEqual([[5000], 2]);
    await fake.close();
  });
});

describe('a full report', () => {
  const report = (error = ''): Parameters<typeof packReport>[1][number] => ({
    id: crypto.randomUUID(),
    name: 'c',
    project: 'default',
    epoch: 1,
    status: 'Running',
    ...(error && { error }),
  });

  it('is one frame for an empty host, with nothing held', () => {
    expect(packReport(7, [], [])).toEqual([{ t: 'report', instances: [], seq: 7, last: true, held: [] }]);
  });

  it.each([1, 49, 50, 51, 500, 700])('of %i instances fits the link, whatever they say', (count) => {
    const reports = Array.from({ length: count }, () => report('e'.repeat(1900)));
    const held = reports.map(({ id }) => id);
    const frames = packReport(7, reports, held);
    for (const frame of frames) encodeFrame({ ...frame, n: Number.MAX_SAFE_INTEGER });
    expect(frames.flatMap(({ instances }) => instances)).toEqual(reports);
    expect(frames.map(({ last }) => last).indexOf(true)).toBe(frames.length - 1);
    expect(frames.at(-1)?.held).toEqual(count <= 600 ? held : undefined);
  });
});

describe('the journal', () => {
  it('keeps the newest outcomes, and all that was begun', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fl-'));
    const db = openDatabase(folder);
    db.exec('PRAGMA synchronous = OFF');
    const journal = new Journal(db, () => 1);
    journal.begin('open', { kind: 'delete', id: crypto.randomUUID(), epoch: 1 });
    for (let id = 0; id < JOURNAL_KEPT + 10; id += 1) {
      journal.begin(`${id}`, { kind: 'facts' });
      journal.finish(`${id}`, { ok: true, seq: 1, result: { kind: 'exited', code: id % 256 } });
    }
    expect([journal.lookup('9'), journal.lookup('open')]).toEqual([undefined, 'begun']);
    expect(journal.lookup('10')).toEqual({ ok: true, seq: 1, result: { kind: 'exited', code: 10 } });
    expect(journal.unfinished().map(({ id }) => id)).toEqual(['open']);
    db.close();
    await rm(folder, { recursive: true });
  });

  it('belongs to one process', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fl-'));
    const db = openDatabase(folder);
    expect(() => openDatabase(folder)).toThrow(/a connector runs on this state already/);
    db.close();
    openDatabase(folder).close();
    await rm(folder, { recursive: true });
  });

  it('counts upwards over restarts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fl-'));
    let last = 0;
    for (let start = 0; start < 3; start += 1) {
      const db = openDatabase(folder);
      const counter = new Counter(db, 'seq');
      for (let step = 0; step < 300; step += 1) {
        const next = counter.next();
        expect(next).toBeGreaterThan(last);
        last = next;
      }
      db.close();
    }
    await rm(folder, { recursive: true });
  });
});

describe('a lane', () => {
  it('runs so many at a time, queues so many, and refuses the rest at once', async () => {
    const lane = new Lane(2, 1);
    const releases: (() => void)[] = [];
    const task = (): Promise<void> => new Promise((resolve) => releases.push(resolve));
    const running = [lane.run(task), lane.run(task), lane.run(task)];
    await expect(lane.run(task)).rejects.toThrow(/more to do than it can queue/);
    expect(releases).toHaveLength(2);
    releases[0]?.();
    await running[0];
    await Promise.resolve();
    expect(releases).toHaveLength(3);
    releases[1]?.();
    releases[2]?.();
    await Promise.all(running);
    expect(lane.load).toBe(0);
  });
});
