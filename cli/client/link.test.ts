import { describe, expect, it } from 'vitest';

import type { ChannelListener } from '#shared/link/channel.ts';
import { OUTPUT, TO_HOST } from '#shared/link/session.ts';
import { Edge, world } from '../testing/edge.ts';
import { TestServer } from '../testing/server.ts';
import { ControlPlane } from './http.ts';
import { Link } from './link.ts';
import { agentFor } from './pinned.ts';

const SECRETS = { '0': 's0', control: 'sc' };
async function setUp() {
  const server = await TestServer.start();
  const edge = new Edge(server);
  const api = new ControlPlane(server.settings, agentFor(server.settings.fingerprint));
  const link = new Link(api, world);
  let output = '';
  const closed = Promise.withResolvers<string>();
  const listener: ChannelListener = {
    data(_, bytes) {
      output += Buffer.from(bytes).toString();
    },
    control() {},
    writable() {},
    closed: (code) => closed.resolve(code),
  };
  return {
    edge,
    link,
    listener,
    closed: closed.promise,
    output: () => output,
    async [Symbol.asyncDispose]() {
      edge.channel?.reset('test', '');
      await link.close();
      api.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('Link', () => {
  it('says hello with the token, attaches with the secrets, and carries bytes both ways', async () => {
    await using t = await setUp();
    const channel = await t.link.attach('op1', SECRETS, t.listener);
    channel.write(TO_HOST, Buffer.from('input'));
    t.edge.channel?.write(OUTPUT, Buffer.from('output'));
    await expect.poll(() => [t.edge.received, t.output()]).toEqual(['input', 'output']);

    const [hello, attach, data] = t.edge.frames;
    expect(hello).toMatchObject({ t: 'hello', v: 1 });
    expect(attach).toMatchObject({ t: 'attach', op: 'op1', secrets: SECRETS });
    expect(attach).toHaveProperty('boot', (hello as { boot: string }).boot);
    expect(data).toMatchObject({ t: 'd', s: 'stream', g: 'g1' });
  });

  it('goes on after a cut, with the same boot id and the new ticket, and loses nothing', async () => {
    await using t = await setUp();
    const channel = await t.link.attach('op1', SECRETS, t.listener);
    channel.write(TO_HOST, Buffer.from('before '));
    await expect.poll(() => t.edge.received).toBe('before ');
    t.edge.sockets[0]?.terminate();
    channel.write(TO_HOST, Buffer.from('during '));
    t.edge.channel?.write(OUTPUT, Buffer.from('from the host'));
    await expect.poll(() => t.edge.sockets.length).toBe(2);
    channel.write(TO_HOST, Buffer.from('after'));

    await expect.poll(() => [t.edge.received, t.output()]).toEqual(['before during after', 'from the host']);
    const boots = t.edge.frames.flatMap((frame) => (frame.t === 'hello' ? [frame.boot] : []));
    expect(boots).toEqual([boots[0], boots[0]]);
    expect(t.edge.frames.at(-1)).toHaveProperty('g', 'g2');
    // The edge says which of them are over.
    expect(t.edge.frames.findLast((frame) => frame.t === 'hello')).toMatchObject({ streams: ['stream'] });
  });

  it('takes the stream from a resume when a cut swallowed the answer to its attach', async () => {
    await using t = await setUp();
    t.edge.onAttach = () => {
      if (t.edge.channel) return;
      t.edge.open();
      t.edge.sockets.at(-1)?.terminate();
    };
    const channel = await t.link.attach('op1', SECRETS, t.listener);
    channel.write(TO_HOST, Buffer.from('x'));
    await expect.poll(() => t.edge.received).toBe('x');
  });

  it("passes on the edge's refusal", async () => {
    await using t = await setUp();
    t.edge.onAttach = (id) =>
      t.edge.send({ t: 'refused', id, error: { code: 'host_offline', message: 'Host "foo" is offline' } });
    await expect(t.link.attach('op1', SECRETS, t.listener)).rejects.toThrow('Host "foo" is offline');
  });

  it('ends the session when the edge says goodbye', async () => {
    await using t = await setUp();
    await t.link.attach('op1', SECRETS, t.listener);
    t.edge.send({ t: 'bye', error: { code: 'forbidden', message: 'token revoked' } });
    expect(await t.closed).toBe('failed');
  });

  it('goes on after what is no frame: a gateway complains in words of its own', async () => {
    await using t = await setUp();
    const channel = await t.link.attach('op1', SECRETS, t.listener);
    t.edge.sockets[0]?.send('{"message":"Too Many Requests","connectionId":"c","requestId":"r"}');
    t.edge.sockets[0]?.send('nonsense');
    channel.write(TO_HOST, Buffer.from('x'));
    await expect.poll(() => t.edge.received).toBe('x');
  });

  it('says hello and attach again when they, or what should follow, were lost', async () => {
    await using t = await setUp();
    let lost = 1;
    const lose = (again: () => void) => (lost-- > 0 ? undefined : again());
    t.edge.onHello = lose;
    const { onAttach } = t.edge;
    t.edge.onAttach = (id) => lose(() => onAttach(id));
    const attached = t.link.attach('op1', SECRETS, t.listener);
    await expect.poll(() => t.edge.frames.filter(({ t }) => t === 'hello').length, { timeout: 10_000 }).toBe(2);
    lost = 1;
    expect(await attached).toHaveProperty('id', 'stream');
    // Nobody was heard yet: the host may not know of the stream either.
    await expect.poll(() => t.edge.frames.filter(({ t }) => t === 'attach').length, { timeout: 10_000 }).toBe(3);
  });

  it('takes a refusal that means "not now" for a loss', async () => {
    await using t = await setUp();
    const { onAttach } = t.edge;
    t.edge.onAttach = (id) => {
      t.edge.onAttach = onAttach;
      t.edge.send({ t: 'refused', id, error: { code: 'unavailable', message: 'throttled' } });
    };
    expect(await t.link.attach('op1', SECRETS, t.listener)).toHaveProperty('id', 'stream');
  });

  it('says hello again when its stream has no way to the host', async () => {
    await using t = await setUp();
    const channel = await t.link.attach('op1', SECRETS, t.listener);
    t.edge.send({ t: 'gone', s: 'stream' });
    await expect.poll(() => t.edge.frames.filter(({ t }) => t === 'hello').length, { timeout: 10_000 }).toBe(2);
    channel.write(TO_HOST, Buffer.from('x'));
    await expect.poll(() => t.edge.received).toBe('x');
  });

  it('says that the control plane can not be reached when the first connection fails', async () => {
    const server = await TestServer.start();
    const api = new ControlPlane(server.settings, agentFor(server.settings.fingerprint));
    await server[Symbol.asyncDispose]();
    await expect(
      new Link(api, world).attach('op1', SECRETS, { data() {}, control() {}, writable() {}, closed() {} }),
    ).rejects.toThrow(/Can not reach/);
  });
});
