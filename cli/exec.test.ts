import { PassThrough } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { statusFields, STATUS } from '#shared/lxd/status.ts';
import { ERRORS, OUTPUT } from '#shared/link/session.ts';
import { pump } from './exec-input.ts';
import { Edge } from './testing/edge.ts';
import { fairlead, FakeIo } from './testing/io.ts';
import { ok, operation, started, TestServer, type Request } from './testing/server.ts';

const FDS = { '0': 's0', '1': 's1', '2': 's2', control: 'sc' };
const exec = operation({ class: 'websocket', ...statusFields(STATUS.running), metadata: { fds: FDS } });

/** A server with the instance c1, whose commands the test plays through `edge`. */
async function setUp() {
  let asked: Request | undefined;
  let final = operation({ class: 'websocket' });
  const server = await TestServer.start({
    'POST /1.0/instances/c1/exec': (request) => {
      asked = request;
      return started(exec);
    },
    [`GET /1.0/operations/${exec.id}`]: () => ok(final),
  });
  const edge = new Edge(server);
  return {
    edge,
    io: new FakeIo(server.env),
    body: () => asked?.body as Record<string, unknown>,
    end: (code: number) => (final = operation({ ...statusFields(STATUS.success), metadata: { return: code } })),
    fail: (err: string) => (final = operation({ ...statusFields(STATUS.failure), err })),
    async [Symbol.asyncDispose]() {
      edge.channel?.reset('test', '');
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('exec', () => {
  it('is a pipe: input, output and errors apart, and the exit code of the command', async () => {
    await using t = await setUp();
    t.io.stdin.end('line1\nline2\n');
    const running = fairlead(t.io, 'exec', 'c1', '--', 'sh', '-c', 'x');
    await expect.poll(() => [t.edge.received, t.edge.ended]).toEqual(['line1\nline2\n', true]);
    t.edge.channel?.write(OUTPUT, Buffer.from('out\n'));
    t.edge.channel?.write(ERRORS, Buffer.from('err\n'));
    t.edge.exit(3);
    expect(await running).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
    expect(t.body()).toMatchObject({
      command: ['sh', '-c', 'x'],
      interactive: false,
      'wait-for-websocket': true,
      environment: {},
    });
    expect(t.edge.frames.find(({ t }) => t === 'attach')).toMatchObject({ op: exec.id, secrets: FDS });
    // The host need not wait for the last acknowledgement of a client that has gone.
    await expect.poll(() => t.edge.closed).toBe('done');
  });

  it('writes all output before it ends, also to a slow reader', async () => {
    await using t = await setUp();
    t.io.stdin.end();
    const size = 3_000_000;
    const running = fairlead(t.io, 'exec', 'c1', 'cat');
    await expect.poll(() => t.edge.channel !== undefined).toBe(true);
    let left = size;
    while (left > 0) {
      const room = Math.min(left, t.edge.channel?.writable(OUTPUT) ?? 0);
      if (room > 0) t.edge.channel?.write(OUTPUT, Buffer.alloc(room, 'x'));
      left -= room;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    t.edge.exit(0);
    const { code, stdout } = await running;
    expect([code, stdout.length]).toEqual([0, size]);
  });

  it('survives a cut in the middle', async () => {
    await using t = await setUp();
    const running = fairlead(t.io, 'exec', 'c1', 'cat');
    t.io.stdin.write('before ');
    await expect.poll(() => t.edge.received).toBe('before ');
    t.edge.sockets[0]?.terminate();
    t.io.stdin.end('after');
    t.edge.channel?.write(OUTPUT, Buffer.from('meanwhile'));
    await expect.poll(() => t.edge.received).toBe('before after');
    t.edge.exit(0);
    expect(await running).toMatchObject({ code: 0, stdout: 'meanwhile' });
    expect(t.edge.sockets.length).toBe(2);
  });

  it('of which nobody waited for the end says so, when the connection is back', async () => {
    await using t = await setUp();
    const running = fairlead(t.io, 'exec', 'c1', 'make');
    await expect.poll(() => t.edge.channel !== undefined).toBe(true);
    t.end(3);
    t.edge.send({ t: 'rst', s: 'stream', g: '', code: 'over', msg: 'the command has ended' });
    expect(await running).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ended with exit code 3, but the last/),
    });
  });

  it('on a terminal is raw, tells its size, and leaves the terminal as it was', async () => {
    await using t = await setUp();
    const raw: boolean[] = [];
    Object.assign(t.io.stdin, { isTTY: true, setRawMode: (on: boolean) => raw.push(on) });
    Object.assign(t.io.stdout, { isTTY: true, columns: 80, rows: 24 });
    t.io.env['TERM'] = 'xterm';
    const running = fairlead(t.io, 'exec', 'c1', 'bash');
    await expect.poll(() => raw).toEqual([true]);
    expect(t.body()).toMatchObject({ interactive: true, width: 80, height: 24, environment: { TERM: 'xterm' } });

    Object.assign(t.io.stdout, { columns: 120, rows: 40 }).emit('resize');
    t.io.stdin.write('\u0003');
    await expect.poll(() => [t.edge.controls.length, t.edge.received]).toEqual([1, '\u0003']);
    expect(t.edge.controls).toEqual([{ command: 'window-resize', args: { width: 120, height: 40 } }]);
    expect(t.io.signal('SIGINT')).toBe(false);
    t.edge.exit(0);
    expect((await running).code).toBe(0);
    expect(raw).toEqual([true, false]);
    expect(t.io.stdout.listenerCount('resize')).toBe(0);
  });

  it('without a terminal passes its own signals on, and leaves when Ctrl-C is not answered', async () => {
    await using t = await setUp();
    const running = fairlead(t.io, 'exec', 'c1', 'sleep', '20');
    await expect.poll(() => t.io.signal('SIGTERM')).toBe(true);
    await expect.poll(() => t.edge.controls).toEqual([{ command: 'signal', signal: 15 }]);
    for (let press = 0; press < 3; press += 1) t.io.signal('SIGINT');
    expect(await running).toMatchObject({
      code: 130,
      stderr: 'Error: Left; the command in the instance is hung up.\n',
    });
    await expect.poll(() => t.edge.closed).toBe('left');
  });

  it('names a command that is not there as lxc does', async () => {
    await using t = await setUp();
    const running = fairlead(t.io, 'exec', 'c1', 'nosuchcmd');
    await expect.poll(() => t.edge.channel !== undefined).toBe(true);
    t.edge.exit(127);
    expect(await running).toMatchObject({ code: 127, stderr: 'Error: Command not found\n' });
  });

  it("says the operation's reason when the session fails", async () => {
    await using t = await setUp();
    t.fail('Host "foo": the instance is not running');
    const running = fairlead(t.io, 'exec', 'c1', 'true');
    await expect.poll(() => t.edge.channel !== undefined).toBe(true);
    t.edge.channel?.reset('failed', 'lxc-attach');
    expect(await running).toMatchObject({ code: 1, stderr: 'Error: Host "foo": the instance is not running\n' });
  });
});

describe('the input pump', () => {
  it('never gives the channel more than it has room for, and pauses the source meanwhile', async () => {
    let room = 4;
    let got = '';
    let ended = false;
    const channel = {
      isOpen: true,
      writable: () => room,
      write(_: number, bytes: Uint8Array, end = false) {
        expect(bytes.length).toBeLessThanOrEqual(room);
        got += Buffer.from(bytes).toString();
        room -= bytes.length;
        ended ||= end;
      },
    };
    const source = new PassThrough();
    const input = pump(source, channel);
    source.end('0123456789');
    await expect.poll(() => got).toBe('0123');
    expect(source.isPaused()).toBe(true);
    room = 100;
    input.more();
    await expect.poll(() => [got, ended]).toEqual(['0123456789', true]);
  });
});
