import { describe, expect, it } from 'vitest';

import { statusFields, STATUS } from '#shared/lxd/status.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { fairlead, FakeIo } from './testing/io.ts';
import { ok, operation, started, TestServer } from './testing/server.ts';

/** `stop c1`, whose operation answers its waits as the test says. */
async function setUp(first: Operation, wait: (io: FakeIo, asked: number) => Operation | Promise<Operation>) {
  let asked = 0;
  let cancelled = false;
  const server = await TestServer.start({
    'PUT /1.0/instances/c1/state': () => started(first),
    [`GET /1.0/operations/${first.id}/wait`]: async () => ok(await wait(io, (asked += 1))),
    [`DELETE /1.0/operations/${first.id}`]: () => {
      cancelled = true;
      return ok({});
    },
  });
  const io = new FakeIo(server.env);
  return { io, cancelled: () => cancelled, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const stopping = operation({ ...statusFields(STATUS.running), description: 'Stopping instance' });
const whenCancelled = async (cancelled: () => boolean) => {
  while (!cancelled()) await new Promise((resolve) => setTimeout(resolve, 5));
  return operation({ ...statusFields(STATUS.cancelled), description: 'Stopping instance' });
};

describe('following an operation', () => {
  it('shows a line of progress after a second, on a terminal, and leaves nothing of it', async () => {
    await using t = await setUp(stopping, (io, asked) => {
      io.time += 600;
      return asked < 4 ? { ...stopping, metadata: { stop_progress: `${asked}0%` } } : operation();
    });
    // Some terminals say 0 for "not known".
    Object.assign(t.io.stderr, { isTTY: true, columns: 0 });
    const { code, stdout, stderr } = await fairlead(t.io, 'stop', 'c1');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toBe('\r\u001b[KStop: 20%\r\u001b[KStop: 30%\r\u001b[K');
  });

  it('shows nothing where nobody looks', async () => {
    await using t = await setUp(stopping, (io, asked) => {
      io.time += 60_000;
      return asked < 3 ? stopping : operation();
    });
    expect(await fairlead(t.io, 'stop', 'c1')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('cancels at Ctrl-C what can be cancelled, and waits for the outcome', async () => {
    await using t = await setUp({ ...stopping, may_cancel: true }, async (io, asked) => {
      if (asked === 1) io.signal('SIGINT');
      return await whenCancelled(t.cancelled);
    });
    expect(await fairlead(t.io, 'stop', 'c1')).toEqual({
      code: 130,
      stdout: '',
      stderr:
        'Cancelling "Stopping instance"; Ctrl-C again stops waiting for it.\nError: Cancelled: Stopping instance\n',
    });
  });

  it('says so when it can not be cancelled, and leaves at the second Ctrl-C', async () => {
    await using t = await setUp(stopping, async (io) => {
      io.signal('SIGINT');
      io.signal('SIGINT');
      await new Promise((resolve) => setTimeout(resolve, 50));
      return stopping;
    });
    const { code, stderr } = await fairlead(t.io, 'stop', 'c1');
    expect(code).toBe(130);
    expect(stderr).toBe(
      '"Stopping instance" can not be cancelled and goes on. Ctrl-C again stops waiting for it.\n' +
        `Error: Stopped waiting. Look after it with: fairlead operation show ${stopping.id}\n`,
    );
    expect(t.cancelled()).toBe(false);
  });
});
