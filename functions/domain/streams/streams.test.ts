import { createSecretKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import type { DownFrame, UpFrame } from '#shared/link/frames.ts';
import { PROTOCOL_VERSION, REPEAT_MIN_MS } from '#shared/link/limits.ts';
import { connectedHost, launch, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { ATTACH_MS } from '../instances/exec.ts';
import { EXEC_START_MS } from './attach.ts';
import { sealTicket } from './tickets.ts';

type Attached = Extract<DownFrame, { t: 'attached' }>;
type Refused = Extract<DownFrame, { t: 'refused' }>;

/** A client process: `lxc exec` behind a gate, or the `fairlead` command. */
class Client {
  readonly world: World;
  readonly boot: string;
  connection = '';
  context: Readonly<Record<string, string>> = {};

  constructor(world: World, boot = 'client-1') {
    this.world = world;
    this.boot = boot;
  }

  async connect(token = this.world.tokens.operator, streams: string[] = []): Promise<this> {
    this.connection = this.world.links.open();
    const requestContext = { connectionId: this.connection, sourceIp: '192.0.2.9' };
    const headers = { authorization: `Bearer ${token}` };
    const { context } = await this.world.functions.authorize({ headers, queryStringParameters: {}, requestContext });
    this.context = context;
    await this.send({ t: 'hello', v: PROTOCOL_VERSION, boot: this.boot, streams });
    return this;
  }

  async send(frame: UpFrame): Promise<void> {
    const requestContext = { connectionId: this.connection, sourceIp: '192.0.2.9', authorizer: this.context };
    await this.world.functions.message({ body: JSON.stringify(frame), requestContext });
  }

  /** Attaches; the answer. */
  async attach({ id, fds }: Exec, secrets: Record<string, string> = fds): Promise<Attached | Refused> {
    await this.send({ t: 'attach', id: 'a1', boot: this.boot, op: id, secrets });
    const answer = this.frames().findLast((frame) => frame.t === 'attached' || frame.t === 'refused');
    if (answer === undefined) throw new Error('attach was not answered');
    return answer;
  }

  frames(): readonly DownFrame[] {
    return this.world.links.frames(this.connection);
  }
}

interface Exec {
  readonly id: string;
  readonly fds: Record<string, string>;
}

async function exec(world: World, more: object = {}): Promise<Exec> {
  const body = { command: ['sh'], 'wait-for-websocket': true, interactive: true, ...more };
  const answer = await world.api('POST', '/1.0/instances/c1/exec', body, { token: world.tokens.operator });
  if (answer.status !== 202) throw new Error(answer.error);
  const { id, metadata } = answer.metadata as { id: string; metadata: { fds: Record<string, string> } };
  return { id, fds: metadata.fds };
}

/** A host with a running c1, an exec in it, and a client that attached; `g` are the tickets. */
async function session(world: World) {
  const host = await connectedHost(world, 'foo');
  await launch(world, host, 'c1');
  const client = await new Client(world).connect();
  const begun = await exec(world);
  const attached = await client.attach(begun);
  if (attached.t !== 'attached') throw new Error(attached.error.message);
  const command = host.pending()[0]!;
  if (command.cmd.kind !== 'exec') throw new Error('not an exec');
  return { host, client, begun, command, s: attached.s, g: { client: attached.g, host: command.cmd.ticket } };
}

/** As {@link session}, but the host is gone before it hears of the exec, and nobody has noticed. */
async function attachedWhileCut(world: World) {
  const host = await connectedHost(world, 'foo');
  await launch(world, host, 'c1');
  const client = await new Client(world).connect();
  const begun = await exec(world);
  await world.links.close(host.connection);
  await client.attach(begun);
  return { host, client, begun };
}

const data = (s: string, g: string) => ({ t: 'd', s, g, q: 0, c: 0, b: 'aGk=' }) as const;

async function streamRecords(world: World): Promise<string[]> {
  const all = await world.dump();
  return all
    .filter(({ pk, sk }) => /^(STREAM|CLIENT|COMMAND)#/.test(pk) || sk.startsWith('STREAM#'))
    .map(({ pk }) => pk);
}

describe('exec', () => {
  it('runs nothing before somebody attached with the secrets', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const client = await new Client(world).connect();
    const begun = await exec(world);
    expect(host.pending()).toEqual([]);
    expect(Object.keys(begun.fds)).toEqual(['0', 'control']);
    expect((await client.attach(begun)).t).toBe('attached');
    expect(host.pending()).toMatchObject([{ cmd: { kind: 'exec', command: ['sh'], interactive: true } }]);
  });

  it('is attached once: a second client is refused, the same one is told the same again', async () => {
    await using world = await openWorld();
    const { client, begun, s } = await session(world);
    const other = await new Client(world, 'client-2').connect();
    expect(await other.attach(begun)).toMatchObject({ t: 'refused', error: { code: 'not_found' } });
    expect(await client.attach(begun)).toMatchObject({ t: 'attached', s });
  });

  it('of two clients that attach at once gives one the stream', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const begun = await exec(world);
    const clients = await Promise.all(['a', 'b', 'c'].map((boot) => new Client(world, boot).connect()));
    const answers = await Promise.all(clients.map((client) => client.attach(begun)));
    expect(answers.map(({ t }) => t).toSorted()).toEqual(['attached', 'refused', 'refused']);
    expect(host.pending()).toHaveLength(1);
  });

  it.each([
    ['a wrong secret', ({ fds }: Exec) => ({ ...fds, '0': 'f'.repeat(64) })],
    ['a secret missing', ({ fds }: Exec) => ({ '0': fds['0'] ?? '' })],
    ['the secrets swapped', ({ fds }: Exec) => ({ '0': fds['control'] ?? '', control: fds['0'] ?? '' })],
  ])('with %s is refused and stays attachable', async (_, forge) => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    const client = await new Client(world).connect();
    const begun = await exec(world);
    expect(await client.attach(begun, forge(begun))).toMatchObject({ t: 'refused', error: { code: 'forbidden' } });
    expect((await client.attach(begun)).t).toBe('attached');
  });

  it('that was attached is told the same on the next connection of the same client, and sent to its host again', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const client = await new Client(world).connect();
    const begun = await exec(world);
    const first = await client.attach(begun);
    const told = host.inbox.length;
    world.clock.advance(REPEAT_MIN_MS);
    await client.connect();
    const again = await client.attach(begun);
    expect(again).toMatchObject({ t: 'attached', s: (first as Attached).s });
    expect(host.inbox.slice(told).findLast(({ t }) => t === 'cmd')).toMatchObject({ cmd: { kind: 'exec' } });
    await client.send(data((again as Attached).s, (again as Attached).g));
    expect(host.inbox.at(-1)).toMatchObject({ t: 'd' });
  });

  it('cannot be attached after its time, swept or not', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    const client = await new Client(world).connect();
    const begun = await exec(world);
    world.clock.advance(ATTACH_MS);
    expect((await client.attach(begun)).t).toBe('refused');
    await world.sweep();
    expect((await world.api('GET', `/1.0/operations/${begun.id}`)).metadata).toMatchObject({ status: 'Failure' });
    expect((await client.attach(begun)).t).toBe('refused');
    expect(JSON.stringify(await world.dump())).not.toContain('"secrets"');
  });

  it('ends with its exit code and leaves no record of the stream', async () => {
    await using world = await openWorld();
    const { host, begun, command } = await session(world);
    await host.send(host.result(command, { result: { kind: 'exited', code: 3 } }));
    expect((await world.api('GET', `/1.0/operations/${begun.id}`)).metadata).toMatchObject({
      status: 'Success',
      metadata: { return: 3 },
    });
    expect(await streamRecords(world)).toEqual([]);
  });

  it('tells the client that it is over, who may have nothing to say and hear nothing', async () => {
    await using world = await openWorld();
    const { host, client, command, s } = await session(world);
    await host.send(host.result(command, { error: { code: 'host_failed', message: 'restarted' } }));
    expect(client.frames().at(-1)).toMatchObject({ t: 'rst', s, code: 'over' });
  });

  it('that was over while the client was away is over when it is back', async () => {
    await using world = await openWorld();
    const { host, client, command, s } = await session(world);
    await world.links.close(client.connection);
    await host.send(host.result(command, { result: { kind: 'exited', code: 0 } }));
    await client.connect(undefined, [s]);
    expect(client.frames().slice(1)).toMatchObject([{ t: 'rst', s, code: 'over' }]);
  });

  it('never begins when its host comes back after the client has given up', async () => {
    await using world = await openWorld();
    const { host, client, begun } = await attachedWhileCut(world);
    world.clock.advance(EXEC_START_MS);
    await world.sweep();
    expect((await world.api('GET', `/1.0/operations/${begun.id}`)).metadata).toMatchObject({
      status: 'Failure',
      err: expect.stringMatching(/^Gave up: host foo is offline since .* Nothing was changed/),
    });
    expect(client.frames().at(-1)).toMatchObject({ t: 'rst', code: 'over' });
    await host.connect();
    expect(host.pending()).toEqual([]);
    expect(await streamRecords(world)).toEqual([]);
  });

  it('that may have reached its host in time is told to it again, with the time it had', async () => {
    await using world = await openWorld();
    const { host, command } = await session(world);
    await host.disconnect();
    world.clock.advance(EXEC_START_MS);
    await host.connect();
    expect(host.inbox.findLast(({ t }) => t === 'cmd')).toMatchObject({ id: command.id, expires: command.expires });
  });

  it('that is given up leaves no record of the stream either', async () => {
    await using world = await openWorld();
    const { host, begun } = await session(world);
    await host.disconnect();
    world.clock.advance(8 * 24 * 3600_000);
    await world.sweep();
    expect((await world.api('GET', `/1.0/operations/${begun.id}`)).metadata).toMatchObject({ status: 'Failure' });
    expect(await streamRecords(world)).toEqual([]);
  });

  it('is called back when it is cancelled', async () => {
    await using world = await openWorld();
    const { host, begun, command } = await session(world);
    expect((await world.api('DELETE', `/1.0/operations/${begun.id}`)).status).toBe(200);
    expect(host.inbox.at(-1)).toEqual({ t: 'cancel', id: command.id });
  });

  it.each([
    ['stopped', 400, 'Start it first'],
    ['offline', 503, 'offline since'],
  ])('of one that is %s says what to do', async (what, status, why) => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1', { start: what !== 'stopped' });
    if (what === 'offline') await host.disconnect();
    const answer = await world.api('POST', '/1.0/instances/c1/exec', { command: ['sh'], 'wait-for-websocket': true });
    expect(answer).toMatchObject({ status, error: expect.stringContaining(why) });
  });

  it('that is too long for a frame is refused', async () => {
    await using world = await openWorld();
    await launch(world, await connectedHost(world, 'foo'), 'c1');
    const answer = await world.api('POST', '/1.0/instances/c1/exec', {
      command: ['x'.repeat(25_000)],
      'wait-for-websocket': true,
    });
    expect(answer).toMatchObject({ status: 400, error: expect.stringContaining('stdin') });
  });

  it('shows its secrets in the answer to its creator and nowhere else', async () => {
    await using world = await openWorld();
    const events = world.links.open();
    const authorizer = { kind: 'events', id: 'viewer', project: 'default', types: 'operation,lifecycle', opened: '0' };
    await world.functions.connect({ requestContext: { connectionId: events, sourceIp: '', authorizer } });
    const host = await connectedHost(world, 'foo');
    await launch(world, host, 'c1');
    const begun = await exec(world, { interactive: false });
    expect(Object.keys(begun.fds)).toEqual(['0', '1', '2', 'control']);
    const seen = async () => {
      const token = world.tokens.viewer;
      const read = [
        '/1.0/operations?recursion=1',
        `/1.0/operations/${begun.id}`,
        '/1.0/instances?recursion=2',
        '/1.0/instances/c1?recursion=1',
      ];
      const answers = await Promise.all(read.map((path) => world.api('GET', path, undefined, { token })));
      return [
        JSON.stringify(await world.dump()),
        world.logged.join('\n'),
        world.links.texts(events).join('\n'),
        // But for the welcome, which tells a host its own secret on its own connection.
        JSON.stringify(host.inbox.filter(({ t }) => t !== 'welcome')),
        ...answers.map(({ text }) => text),
      ].join('\n');
    };
    const before = await seen();
    const client = await new Client(world).connect();
    await client.attach(begun, { ...begun.fds, '2': 'x' });
    const attached = await client.attach(begun);
    await host.work();
    const after = [before, await seen(), JSON.stringify(attached), JSON.stringify(client.frames())].join('\n');
    expect(attached.t).toBe('attached');
    expect(after).toContain(begun.id);
    for (const secret of [...Object.values(begun.fds), host.secret.value, ...Object.values(world.tokens)]) {
      expect(secret.length).toBeGreaterThanOrEqual(64);
      expect(after.includes(secret.split('_').at(-1) ?? '')).toBe(false);
    }
  });
});

describe('a frame of a stream', () => {
  it('goes to the peer in one hop, without its ticket, and no record is read', async () => {
    await using world = await openWorld();
    const { host, client, s, g } = await session(world);
    const before = world.records.reads;
    await client.send(data(s, g.client));
    expect(host.inbox.at(-1)).toEqual(data(s, ''));
    await host.send(data(s, g.host));
    expect(client.frames().at(-1)).toEqual(data(s, ''));
    expect(world.records.reads).toBe(before);
  });

  it('whose peer is gone is answered so', async () => {
    await using world = await openWorld();
    const { host, client, s, g } = await session(world);
    await world.links.close(host.connection);
    await client.send(data(s, g.client));
    expect(client.frames().at(-1)).toEqual({ t: 'gone', s });
  });

  it.each([
    ['no ticket', () => ''],
    ['an invented ticket', () => 'A'.repeat(200)],
    ["the other end's ticket", ({ g }: Session) => g.host],
    ['a ticket that was altered', ({ g }: Session) => flip(g.client)],
    [
      'a ticket under another key',
      ({ s, client, host }: Session) => {
        const ticket = { s, from: client.connection, to: host.connection, exp: Number.MAX_SAFE_INTEGER };
        return sealTicket(createSecretKey(Buffer.alloc(32, 9)), new Uint8Array(12), ticket);
      },
    ],
  ] as [string, (of: Session) => string][])('with %s is refused, and the connection stays', async (_, forge) => {
    await using world = await openWorld();
    const of = await session(world);
    const before = of.host.inbox.length;
    await of.client.send(data(of.s, forge(of)));
    expect(of.client.frames().at(-1)).toMatchObject({ t: 'refused', error: { code: 'forbidden' } });
    expect(of.host.inbox).toHaveLength(before);
    expect(world.links.isOpen(of.client.connection)).toBe(true);
  });

  it('of another stream, or under a ticket that has expired, is refused', async () => {
    await using world = await openWorld();
    const { client, s, g } = await session(world);
    await client.send(data('another', g.client));
    expect(client.frames().at(-1)).toMatchObject({ t: 'refused' });
    world.clock.advance(130 * 60_000);
    await client.send(data(s, g.client));
    expect(client.frames().at(-1)).toMatchObject({ t: 'refused' });
  });

  it('from a stolen ticket on another connection is refused', async () => {
    await using world = await openWorld();
    const { host, s, g } = await session(world);
    const thief = await new Client(world, 'thief').connect();
    const before = host.inbox.length;
    await thief.send(data(s, g.client));
    expect(host.inbox).toHaveLength(before);
  });
});

type Session = Awaited<ReturnType<typeof session>>;

function flip(ticket: string): string {
  const bytes = Buffer.from(ticket, 'base64url');
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString('base64url');
}

describe('after a reconnect', () => {
  function resumed(frames: readonly DownFrame[]): string | undefined {
    return frames.findLast((frame) => frame.t === 'resume')?.streams[0]?.g;
  }

  async function bothWays(host: FakeHost, client: Client, s: string): Promise<void> {
    const [toHost = '', toClient = ''] = [resumed(client.frames()), resumed(host.inbox)];
    await client.send(data(s, toHost));
    expect(host.inbox.at(-1)).toEqual(data(s, ''));
    await host.send(data(s, toClient));
    expect(client.frames().at(-1)).toEqual(data(s, ''));
  }

  it('of the host both ends get tickets to each other', async () => {
    await using world = await openWorld();
    const { host, client, s } = await session(world);
    await host.connect();
    await bothWays(host, client, s);
  });

  it('of the client both ends get tickets to each other', async () => {
    await using world = await openWorld();
    const { host, client, s } = await session(world);
    await client.connect();
    await bothWays(host, client, s);
  });

  it('of both at once, said twice, both ends get tickets to each other', async () => {
    await using world = await openWorld();
    const { host, client, s } = await session(world);
    await Promise.all([host.connect(), client.connect()]);
    await Promise.all([host.hello(), client.send({ t: 'hello', v: PROTOCOL_VERSION, boot: client.boot })]);
    await bothWays(host, client, s);
  });

  it("another user cannot take a stream over by the client's boot id", async () => {
    await using world = await openWorld();
    const { host, client, s, g } = await session(world);
    const thief = await new Client(world, client.boot).connect(world.tokens.admin);
    expect(resumed(thief.frames())).toBeUndefined();
    await client.send(data(s, g.client));
    expect(host.inbox.at(-1)).toEqual(data(s, ''));
  });
});
