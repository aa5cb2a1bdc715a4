import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';

import { FairleadError } from '#shared/errors.ts';
import type { Event } from '#shared/lxd/event.ts';
import { fairlead, FakeIo } from '../testing/io.ts';
import { operation, TestServer } from '../testing/server.ts';
import { eventLine } from './monitor.ts';

const lifecycle: Event = {
  type: 'lifecycle',
  timestamp: '2026-11-20T18:05:33.169Z',
  location: 'foo',
  metadata: {
    action: 'instance-started',
    source: '/1.0/instances/c3',
    requestor: { username: 'local', protocol: 'fairlead', address: '' },
  },
};

describe('monitor', () => {
  it('prints each event of the types asked for, and connects again after a cut', async () => {
    await using server = await TestServer.start();
    const paths: string[] = [];
    const sockets: WebSocket[] = [];
    server.onSocket = (socket, path) => {
      paths.push(path);
      sockets.push(socket);
      const logging = { type: 'logging', timestamp: '', location: '', metadata: {} };
      for (const event of [{}, logging, lifecycle]) socket.send(JSON.stringify(event));
    };
    const io = new FakeIo(server.env);
    let cuts = 0;
    const sleep = async () => {
      if ((cuts += 1) === 2) throw new FairleadError('cancelled', 'end of the test');
    };
    const running = fairlead(
      Object.assign(io, { sleep }),
      'monitor',
      '--type',
      'lifecycle',
      '--type',
      'operation',
      '--format',
      'json',
    );
    const line = `${JSON.stringify(lifecycle)}\n`;
    await expect.poll(() => io.out).toBe(line);
    sockets[0]?.terminate();
    await expect.poll(() => io.out).toBe(line + line);
    expect(io.err).toBe('The event stream was cut; connecting again. What happened meanwhile is not shown.\n');
    sockets[1]?.terminate();
    await running;
    expect(new Set(paths)).toEqual(new Set(['/1.0/events?type=lifecycle,operation']));
  });

  it('says at once when there is nothing to listen to', async () => {
    const server = await TestServer.start();
    const io = new FakeIo(server.env);
    await server[Symbol.asyncDispose]();
    const ran = await fairlead(io, 'monitor');
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('Error: Can not reach') as string });
  });

  it('tells an event in one line', () => {
    expect(eventLine(lifecycle)).toBe('2026-11-20T18:05:33Z [foo] instance-started /1.0/instances/c3 by local');
    const failed: Event = {
      type: 'operation',
      timestamp: '2026-11-20T18:05:33Z',
      location: 'none',
      metadata: operation({ id: 'o1', status: 'Failure', err: 'disk\u001b full' }),
    };
    expect(eventLine(failed)).toBe('2026-11-20T18:05:33Z operation o1: Creating instance: Failure: disk\\x1b full');
  });
});
