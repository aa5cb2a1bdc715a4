import { afterEach, describe, expect, it, vi } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { Channel, type ChannelListener } from '#shared/link/channel.ts';
import { decodeUp, encodeFrame, type StreamWireFrame, type UpFrame } from '#shared/link/frames.ts';
import { decodeHostControl, encodeControl, OUTPUT, TO_HOST } from '#shared/link/session.ts';
import { MAX_MESSAGE_BYTES } from '#shared/link/stream/stream.ts';
import type { LinkLine } from '../link/connection.ts';
import type { Session } from '../lxc/attach.ts';
import { attachPiped } from '../lxc/attachPipes.ts';
import { realWorld } from '../world.ts';
import { Sessions } from './sessions.ts';

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** A client and a host with a link between them; the command is a real process, only not in a container. */
function bench(change: { start?: () => Promise<Session>; slow?: Promise<void>; graceMs?: number } = {}) {
  const sessions = new Sessions({ ...realWorld, schedule: faster }, () => {});
  const stop = new AbortController();
  stops.push(() => stop.abort());
  const link = { up: true };
  const output: Buffer[][] = [[], [], []];
  const ends: number[] = [];
  let exit: number | undefined;
  let closed: string | undefined;
  const line = (id: number): LinkLine => ({
    id,
    send: (frame: UpFrame) => {
      const text = encodeFrame(frame);
      if (link.up) setImmediate(() => client.receive(decodeUp(text) as StreamWireFrame));
    },
  });
  const listener: ChannelListener = {
    data: (channel, bytes, end) => {
      output[channel]?.push(Buffer.from(bytes));
      if (end) ends.push(channel);
      return change.slow;
    },
    control: (bytes) => {
      exit = decodeHostControl(bytes).exit;
      client.finish();
    },
    writable: () => {},
    closed: (code) => {
      closed = code;
    },
  };
  const send = (frame: StreamWireFrame): void => {
    if (link.up) setImmediate(() => sessions.frame(frame));
  };
  const client = new Channel({ id: 's', ticket: 'c', send, world: realWorld, listener });
  const first = line(1);
  const run = (script: string): Promise<number> =>
    sessions.run(
      { id: 's', ticket: 'h', line: first, signal: stop.signal },
      change.start ?? (() => attachPiped(['sh', '-c', script], '/')),
    );
  return {
    run,
    sessions,
    client,
    link,
    line,
    first,
    send,
    stop,
    text: (channel: number) => Buffer.concat(output[channel] ?? []).toString(),
    get exit() {
      return exit;
    },
    get closed() {
      return closed;
    },
    ends,
  };
}

/** Grace and lingering in hundredths, so that a test need not wait for them. */
function faster(ms: number, task: () => void): () => void {
  return realWorld.schedule(ms >= 5_000 ? ms / 100 : ms, task);
}

describe('a session', () => {
  it('keeps output and errors apart, and ends with the exit code behind both', async () => {
    const session = bench();
    expect(await session.run('echo out; echo err >&2; exit 7')).toBe(7);
    await vi.waitFor(() => expect(session.closed).toBe('done'));
    expect([session.text(1), session.text(2), session.exit]).toEqual(['out\n', 'err\n', 7]);
    expect(new Set(session.ends)).toEqual(new Set([1, 2]));
  });

  it('gives the command its input, also what came before it started, and its end', async () => {
    const session = bench();
    session.client.write(TO_HOST, Buffer.from('early '));
    const code = session.run('cat; exit 3');
    session.client.write(TO_HOST, Buffer.from('late'), true);
    expect(await code).toBe(3);
    expect(session.text(OUTPUT)).toBe('early late');
  });

  it('takes what overtook the command that opens it, without waiting for it to be sent again', async () => {
    const session = bench();
    session.client.write(TO_HOST, Buffer.from('first'), true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const start = performance.now();
    expect(await session.run('cat')).toBe(0);
    expect(session.text(OUTPUT)).toBe('first');
    expect(performance.now() - start).toBeLessThan(800);
  });

  it('carries megabytes both ways unchanged', async () => {
    const session = bench();
    const bytes = Buffer.alloc(3_000_000, 'abcdefghijklmnopqrstuvwxyz012345\n');
    const code = session.run('cat');
    let at = 0;
    const feed = (): void => {
      while (at < bytes.length && session.client.writable() > 0) {
        const part = bytes.subarray(at, at + Math.min(MAX_MESSAGE_BYTES, session.client.writable()));
        at += part.length;
        session.client.write(TO_HOST, part, at === bytes.length);
      }
      if (at < bytes.length) setTimeout(feed, 2);
    };
    feed();
    expect(await code).toBe(0);
    expect(session.text(OUTPUT) === bytes.toString()).toBe(true);
  });

  it('makes a command wait whose output nobody takes, and keeps little of it', async () => {
    let release: (() => void) | undefined;
    let written = 0;
    const session = bench({
      slow: new Promise((resolve) => (release = resolve)),
      start: async () => {
        const child = await attachPiped(['sh', '-c', 'yes | head -c 50000000'], '/');
        child.stdout.on('data', (chunk: Buffer) => (written += chunk.length));
        child.stdout.pause();
        return child;
      },
    });
    const code = session.run('');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(written).toBeGreaterThan(300_000);
    expect(written).toBeLessThan(2_000_000);
    release?.();
    expect(await code).toBe(0);
    expect(written).toBe(50_000_000);
  });

  it('sends signals and the size of the window, also ones that came early', async () => {
    const seen: string[] = [];
    const session = bench({
      start: async () => {
        const child = await attachPiped(['sleep', '30'], '/');
        return {
          ...child,
          resize: (width, height) => void seen.push(`${width}x${height}`),
          signal: (number) => {
            seen.push(`signal ${number}`);
            child.kill();
            return Promise.resolve(true);
          },
        };
      },
    });
    session.client.control(encodeControl({ command: 'window-resize', args: { width: 100, height: 30 } }));
    const code = session.run('');
    session.client.control(encodeControl({ command: 'signal', signal: 15 }));
    expect(await code).toBe(137);
    expect(seen).toEqual(['100x30', 'signal 15']);
  });

  it('goes on after its connection was replaced, losing nothing', async () => {
    const session = bench();
    const code = session.run('for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.05; done');
    await new Promise((resolve) => setTimeout(resolve, 100));
    session.link.up = false;
    session.sessions.lineClosed(session.first);
    session.client.disconnected();
    await new Promise((resolve) => setTimeout(resolve, 150));
    session.link.up = true;
    session.sessions.resume({ t: 'resume', streams: [{ s: 's', g: 'h2' }] }, session.line(2));
    session.client.resume('c2', session.send);
    expect(await code).toBe(0);
    expect(session.text(OUTPUT)).toBe('1\n2\n3\n4\n5\n6\n7\n8\n9\n');
  });

  it('hangs the command up when its client does not come back', async () => {
    let signalled = 0;
    const session = bench({
      start: async () => {
        const child = await attachPiped(['sleep', '30'], '/');
        return {
          ...child,
          signal: (number) => {
            signalled = number;
            child.kill();
            return Promise.resolve(true);
          },
        };
      },
    });
    const code = session.run('');
    await new Promise((resolve) => setTimeout(resolve, 50));
    session.link.up = false;
    session.sessions.lineClosed(session.first);
    await expect(code).rejects.toThrow('The command was hung up: the connection was gone for 40 s.');
    expect(signalled).toBe(1);
  });

  it('whose client left before the command began is hung up all the same', async () => {
    let begin: (() => void) | undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const session = bench({ start: () => begun.then(() => attachPiped(['sleep', '30'], '/')) });
    const code = session.run('');
    session.client.reset('left', 'the client has gone');
    await new Promise((resolve) => setTimeout(resolve, 50));
    begin?.();
    await expect(code).rejects.toThrow('The command was hung up: the client has gone.');
  });

  it('whose command ended by itself has its exit code, although nobody took its output', async () => {
    const session = bench({ slow: new Promise(() => {}) });
    const code = session.run('head -c 400000 /dev/zero; exit 3');
    await new Promise((resolve) => setTimeout(resolve, 500));
    session.client.reset('left', 'the client has gone');
    expect(await code).toBe(3);
  });

  it('that is cancelled ends as cancelled', async () => {
    const session = bench();
    const code = session.run('sleep 30');
    await new Promise((resolve) => setTimeout(resolve, 50));
    session.stop.abort(new FairleadError('cancelled', 'The operation was cancelled.'));
    await expect(code).rejects.toThrow(expect.objectContaining({ code: 'cancelled' }));
    await vi.waitFor(() => expect(session.closed).toBe('cancelled'));
  });

  it('tells the client why a command could not be started', async () => {
    const session = bench({ start: () => Promise.reject(new Error('no such container')) });
    await expect(session.run('')).rejects.toThrow('no such container');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(session.closed).toBe('host_failed');
  });
});
