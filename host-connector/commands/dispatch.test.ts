import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import type { UpFrame } from '#shared/link/frames.ts';
import { fakeHost, specOf, type FakeHost } from './fake-host.ts';
import { reconcile } from './reconcile.ts';

let fake: FakeHost;
beforeEach(async () => {
  fake = await fakeHost();
});
afterEach(() => fake.close());

const spec = specOf();

function send(id: string, cmd: HostCommand, expires = 10_000): Promise<void> {
  return fake.dispatcher.command({ t: 'cmd', id, cmd, expires }, fake.line);
}

function results(): Extract<UpFrame, { t: 'res' }>[] {
  return fake.spool.waiting().filter((frame) => frame.t === 'res');
}

const createC1 = { kind: 'create', instance: spec, start: true } as const;
const stopC1 = { kind: 'state', id: spec.id, epoch: 1, action: 'stop', force: false, timeout: 30 } as const;

describe('a command', () => {
  it('makes an instance: role first, image, disk, start; and says how far it is', async () => {
    await send('1', createC1);
    expect(fake.acts).toEqual(['image ffff', 'disk c1', 'start c1']);
    expect(results()).toMatchObject([
      { id: '1', ok: true, result: { kind: 'instance', report: { status: 'Running' } } },
    ]);
    expect(fake.host.roles.find(spec.id)).toMatchObject({ role: 'owner', ready: true, power: 'on' });
    expect(fake.sent.map(({ t }) => t)).toEqual(['progress', 'ask']);
    expect(fake.sent[0]).toMatchObject({
      id: '1',
      percent: 50,
      text: expect.stringMatching(/^Retrieving image: 50% \(.*MB\/s\)$/),
    });
  });

  it('acts once, however often and whenever it comes, and answers alike', async () => {
    await Promise.all([send('1', createC1), send('1', createC1), send('1', createC1)]);
    const [first] = results();
    await send('2', stopC1);
    await send('1', createC1, 0);
    expect(fake.acts.filter((act) => act === 'start c1')).toHaveLength(1);
    expect(fake.power.size).toBe(0);
    const [, again] = results();
    expect(again).toEqual({ ...first, n: again?.n });
  });

  it('is not begun when it comes too late', async () => {
    await send('1', createC1, 999);
    expect(fake.acts).toEqual([]);
    expect(results()).toMatchObject([{ ok: false, error: { code: 'timed_out' } }]);
  });

  it.each(['image', 'disk', 'start'])('leaves nothing of an instance whose making fails at its %s', async (at) => {
    fake.fail = { at, error: new FairleadError('disk_full', 'no room') };
    await send('1', createC1);
    expect(results()).toMatchObject([{ ok: false, error: { code: 'disk_full', message: 'no room' } }]);
    expect([fake.disks.size, fake.power.size, fake.host.roles.all()]).toEqual([0, 0, []]);
  });

  it('is refused when the host forbids it, before anything is made', async () => {
    const instance = specOf({ config: { 'security.privileged': 'true' } });
    await send('1', { kind: 'create', instance, start: false });
    expect(results()).toMatchObject([{ ok: false, error: { code: 'forbidden_by_host' } }]);
    expect(fake.acts).toEqual([]);
  });

  it('of another epoch is stale, of an unknown instance not found', async () => {
    await send('1', createC1);
    await send('2', { ...stopC1, epoch: 2 });
    await send('3', { ...stopC1, id: crypto.randomUUID() });
    expect(results().map(({ error }) => error?.code)).toEqual([undefined, 'stale', 'not_found']);
    expect(fake.power.get(spec.id)).toBe('Running');
  });

  it('is refused in a state it cannot act in', async () => {
    await send('1', createC1);
    await send('2', { ...stopC1, action: 'start' });
    await send('3', { kind: 'delete', id: spec.id, epoch: 1 });
    expect(results().map(({ error }) => error?.message)).toEqual([
      undefined,
      'The instance "c1" is already running',
      'The instance "c1" is running. Stop it first, or use --force.',
    ]);
  });

  it('waits for the one before it on the same instance, not for those on others', async () => {
    await send('1', createC1);
    let release: (() => void) | undefined;
    fake.hold = { at: 'stop', until: new Promise((resolve) => (release = resolve)) };
    const stopping = send('2', stopC1);
    const starting = send('3', { ...stopC1, action: 'start' });
    await send('4', { kind: 'create', instance: specOf({ name: 'c2' }), start: true });
    expect(fake.acts.slice(3)).toEqual(['stop c1', 'image ffff', 'disk c2', 'start c2']);
    release?.();
    await Promise.all([stopping, starting]);
    expect(fake.acts.at(-1)).toBe('start c1');
  });

  it('that only looks is answered at once and kept nowhere', async () => {
    await send('1', createC1);
    fake.sent.length = 0;
    await send('2', { kind: 'measure', id: spec.id });
    await send('2', { kind: 'measure', id: spec.id });
    expect(fake.sent).toMatchObject([
      { t: 'res', id: '2', ok: true },
      { t: 'res', id: '2', ok: true },
    ]);
    expect([results().length, fake.journal.lookup('2')]).toEqual([1, undefined]);
  });

  it('can be cancelled while it waits and while it works', async () => {
    let release: (() => void) | undefined;
    fake.hold = { at: 'image', until: new Promise((resolve) => (release = resolve)) };
    const making = send('1', createC1);
    const waiting = send('2', stopC1);
    fake.dispatcher.cancel('1');
    fake.dispatcher.cancel('2');
    release?.();
    await Promise.all([making, waiting]);
    expect(results().map(({ error }) => error?.code)).toEqual(['cancelled', 'cancelled']);
    expect(fake.host.roles.all()).toEqual([]);
  });

  it('that is cancelled before it came ends so, and does not act when it comes', async () => {
    fake.dispatcher.cancel('1');
    await send('1', createC1);
    expect(fake.acts).toEqual([]);
    expect(results()).toMatchObject([{ id: '1', ok: false, error: { code: 'cancelled' } }]);
  });

  it('that is cancelled after it ended is told as it ended', async () => {
    await send('1', createC1);
    fake.dispatcher.cancel('1');
    expect(results()).toMatchObject([{ id: '1', ok: true }]);
  });

  it('that was refused does not act when it comes again, also when the disk was too full to write that down', async () => {
    await send('1', createC1);
    const refuse = vi.spyOn(fake.journal, 'refuse');
    const full = new FairleadError('disk_full', 'no room');
    for (const isFull of [false, true]) {
      if (isFull)
        refuse.mockImplementationOnce(() => {
          throw full;
        });
      const id = `stop ${isFull}`;
      vi.spyOn(fake.journal, 'begin').mockImplementationOnce(() => {
        throw full;
      });
      await send(id, stopC1);
      await send(id, stopC1);
      expect(results().find((result) => result.id === id)).toMatchObject({ error: { code: 'disk_full' } });
    }
    expect(fake.acts).not.toContain('stop c1');
  });

  it('that was cancelled while it waited does not act when it comes again', async () => {
    let release: (() => void) | undefined;
    fake.hold = { at: 'image', until: new Promise((resolve) => (release = resolve)) };
    const making = send('1', createC1);
    const waiting = send('2', stopC1);
    fake.dispatcher.cancel('2');
    release?.();
    await Promise.all([making, waiting]);
    await send('2', stopC1);
    expect(fake.acts).not.toContain('stop c1');
  });

  it('that changes the configuration keeps the old one when the new one cannot be applied', async () => {
    await send('1', createC1);
    fake.fail = { at: 'update', error: new FairleadError('host_failed', 'no such controller') };
    await send('2', { kind: 'update', instance: { ...spec, config: { 'limits.cpu': '1' } } });
    expect(results()[1]).toMatchObject({ ok: false });
    expect(fake.host.roles.find(spec.id)?.spec.config).toEqual({});
    await send('3', { kind: 'update', instance: { ...spec, config: { 'limits.cpu': '1' } } });
    expect(fake.host.roles.find(spec.id)?.spec.config).toEqual({ 'limits.cpu': '1' });
  });
});

describe('after a crash', () => {
  it('an instance that was made to the end stays, and runs on', async () => {
    vi.spyOn(fake.journal, 'finish').mockImplementationOnce(() => {
      throw new Error('the process dies here');
    });
    await send('1', createC1);
    fake = await fake.crash();
    await reconcile(fake.host, fake.journal, fake.spool);
    expect(fake.journal.lookup('1')).toMatchObject({ ok: true });
    expect(fake.power.get(spec.id)).toBe('Running');
  });

  /** The process dies while the command does `at`; then the next one starts. */
  async function crashAt(at: string, id: string, cmd: HostCommand): Promise<void> {
    fake.hold = { at, until: new Promise(() => {}) };
    void send(id, cmd);
    await vi.waitFor(() => expect(fake.acts.at(-1)).toMatch(new RegExp(`^${at}`)), { interval: 1 });
    fake = await fake.crash();
    await reconcile(fake.host, fake.journal, fake.spool);
  }

  it.each(['image', 'disk', 'start'])(
    'an instance half made (at its %s) is gone, and its command failed',
    async (at) => {
      await crashAt(at, '1', createC1);
      expect([fake.host.roles.all(), fake.disks.size]).toEqual([[], 0]);
      expect(results()).toMatchObject([
        { id: '1', ok: false, error: { message: expect.stringContaining('create it again') } },
      ]);
      await send('1', createC1);
      expect(results()).toHaveLength(1);
      expect(fake.host.roles.all()).toEqual([]);
    },
  );

  it('deleting goes on where it ended', async () => {
    await send('1', createC1);
    await send('2', stopC1);
    await crashAt('forget', '3', { kind: 'delete', id: spec.id, epoch: 1 });
    expect(results()).toMatchObject([{ id: '1' }, { id: '2' }, { id: '3', ok: true, result: { kind: 'deleted' } }]);
    expect([fake.host.roles.all(), fake.disks.size]).toEqual([[], 0]);
  });

  it('a stop that did not happen is told as failed, and the instance left as it is', async () => {
    await send('1', createC1);
    await crashAt('stop', '2', stopC1);
    expect(results()[1]).toMatchObject({
      id: '2',
      ok: false,
      error: { message: expect.stringContaining('It is running now') },
    });
    expect(fake.power.get(spec.id)).toBe('Running');
  });

  it('numbers go on upwards', async () => {
    await send('1', createC1);
    const [before] = results();
    fake = await fake.crash();
    await send('2', stopC1);
    const after = results()[1];
    expect(after!.n).toBeGreaterThan(before!.n);
    expect(after!.seq).toBeGreaterThan(before!.seq);
  });
});
