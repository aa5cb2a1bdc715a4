import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { hostPaths } from '../host/paths.ts';
import { fakeHost, specOf, type FakeHost } from './fake-host.ts';
import { clearHalfMade } from './reconcile.ts';
import { Roles } from './roles.ts';
import { AGAIN_MS, SETTLE_MS, Watch } from './watch.ts';

let fake: FakeHost;
beforeEach(async () => {
  fake = await fakeHost();
});
afterEach(() => fake.close());

const spec = specOf();

describe('a watch', () => {
  it('looks again at a change that could not be told', async () => {
    const tasks: { ms: number; task: () => void }[] = [];
    const world = { schedule: (ms: number, task: () => void) => (tasks.push({ ms, task }), () => {}) };
    await fake.host.roles.add(spec);
    await fake.host.roles.change(spec.id, { ready: true });
    let isFull = true;
    const spool = {
      event: (...args: Parameters<typeof fake.spool.event>) => {
        if (isFull) throw new FairleadError('disk_full', 'full');
        return fake.spool.event(...args);
      },
    } as typeof fake.spool;
    const watch = new Watch(fake.host, spool, { more: () => {} }, world);
    watch.changed(spec.id);
    tasks.shift()?.task();
    await sleep(5);
    expect(tasks.map(({ ms }) => ms)).toEqual([AGAIN_MS]);
    isFull = false;
    tasks.shift()?.task();
    await sleep(5);
    expect(fake.spool.waiting()).toMatchObject([{ t: 'event', instance: { id: spec.id } }]);
    expect(tasks).toEqual([]);
    watch.changed(spec.id);
    expect(tasks.map(({ ms }) => ms)).toEqual([SETTLE_MS]);
  });
});

describe('an instance that was not made to the end', () => {
  it('is cleared away once it can be, and one that was made meanwhile is not', async () => {
    const other = specOf({ name: 'c2' });
    await fake.host.roles.add(spec);
    await fake.host.roles.add(other);
    fake.disks.add(spec.id);
    const alone = async (id: string, task: () => Promise<void>): Promise<void> => {
      if (id === other.id) await fake.host.roles.change(id, { ready: true });
      await task();
    };
    fake.fail = { at: 'forget', error: new Error('busy') };
    await clearHalfMade(fake.host, alone);
    expect(fake.host.roles.find(spec.id)).toBeDefined();
    await clearHalfMade(fake.host, alone);
    expect(fake.host.roles.find(spec.id)).toBeUndefined();
    expect(fake.disks.size).toBe(0);
    expect(fake.host.roles.find(other.id)).toMatchObject({ ready: true });
  });

  it('leaves no empty folder, and what somebody put into a folder without a role stays', async () => {
    const stateDir = await mkdtemp(join(tmpdir(), 'fl-'));
    const paths = hostPaths(stateDir);
    const [empty, unfinished, foreign] = [specOf().id, specOf().id, specOf().id];
    for (const id of [empty, unfinished, foreign]) await mkdir(paths.instance(id).dir, { recursive: true });
    await writeFile(`${paths.instance(unfinished).role}.new`, '{');
    await mkdir(paths.instance(foreign).rootfs);
    await Roles.open(paths);
    expect(await readdir(paths.lxcpath)).toEqual([foreign]);
    await rm(stateDir, { recursive: true });
  });
});
