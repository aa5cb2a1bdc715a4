import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { connectedHost, launch } from '../../../test/fake-host.ts';
import { openWorld } from '../../../test/world.ts';
import { askHost } from './ask.ts';
import { hostByName } from './host.ts';

async function running() {
  const world = await openWorld();
  const host = await connectedHost(world, 'foo');
  await launch(world, host, 'c1');
  const ask = async () => {
    const [id = ''] = host.held.keys();
    return askHost(world.ports, (await hostByName(world.ports.records, 'foo')).data, { kind: 'console-log', id });
  };
  return { world, host, ask, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const BOOTED = { kind: 'console-log', text: 'booted\n' };

describe('a question to a host', () => {
  it('is asked again when no answer comes, and given up after five seconds', async () => {
    await using t = await running();
    const before = t.host.inbox.length;
    await expect(t.ask()).rejects.toMatchObject({ code: 'timed_out' });
    expect(t.host.inbox.slice(before).map((frame) => frame.t)).toEqual(['cmd', 'cmd']);
  });

  it('that was throttled is asked again', async () => {
    await using t = await running();
    t.world.links.beforePost = () => {
      t.world.links.beforePost = undefined;
      throw new FairleadError('unavailable', 'throttled');
    };
    expect(await t.host.workDuring(t.ask())).toEqual(BOOTED);
  });

  it('waits for a host that lost its connection a moment ago', async () => {
    await using t = await running();
    await t.host.disconnect();
    const asked = t.ask();
    await t.host.connect();
    expect(await t.host.workDuring(asked)).toEqual(BOOTED);
  });

  it('does not wait for one that has been away for longer', async () => {
    await using t = await running();
    await t.host.disconnect();
    t.world.clock.advance(60_000);
    const before = t.world.clock.now();
    await expect(t.ask()).rejects.toMatchObject({ code: 'host_offline' });
    expect(t.world.clock.now()).toBe(before);
  });
});
