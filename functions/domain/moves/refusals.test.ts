import { describe, expect, it } from 'vitest';

import type { Blocker } from '#shared/link/moves.ts';
import { launch } from '../../../test/fake-host.ts';
import { type Fleet, openFleet, ask, until, lasting, instanceOf } from '../../../test/fake-fleet.ts';

const against = (stops: 'live' | 'move'): Blocker => ({
  what: 'x',
  why: 'There is a reason.',
  cure: 'Do something.',
  stops,
});

describe('a refused move touches nothing', () => {
  const cases: Record<string, { body?: object; before?: (fleet: Fleet) => Promise<unknown>; says: RegExp }> = {
    'to a host that is offline': { before: ({ bar }) => bar.disconnect(), says: /bar is offline since/ },
    'from a host that is offline': { before: ({ foo }) => foo.disconnect(), says: /foo is offline since/ },
    'to where it is': { body: { to: 'foo' }, says: /on host foo already/ },
    'to a host there is not': { body: { to: 'baz' }, says: /"baz" not found/ },
    'of what there is not': { body: { instance: 'c9' }, says: /"c9" not found/ },
    'to a taken name': {
      before: ({ world, bar }) => launch(world, bar, 'c2'),
      body: { name: 'c2' },
      says: /has an instance "c2"/,
    },
    'of a busy instance': {
      before: ({ world }) => world.api('PUT', '/1.0/instances/c1/state', { action: 'stop' }),
      says: /A stop of "c1" is under way/,
    },
    'that the source will not let go': {
      before: async ({ foo }) => (foo.moves.blockers = [against('move')]),
      says: /There is a reason\. Do something\./,
    },
    'that the target will not take': {
      before: async ({ bar }) => (bar.moves.blockers = [against('move')]),
      says: /There is a reason\./,
    },
    'with its memory, where that cannot be': {
      before: async ({ bar }) => (bar.moves.blockers = [against('live')]),
      says: /live: There is a reason\..*--cold/,
    },
  };

  it.each(Object.entries(cases))('%s', async (_name, { body, before, says }) => {
    await using fleet = await openFleet();
    await before?.(fleet);
    // Whoever is away is away for longer than hosts are waited for.
    fleet.world.clock.advance(60_000);
    const records = await lasting(fleet);
    const answer = await ask(fleet, body);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.error).toMatch(says);
    expect(await lasting(fleet)).toEqual(records);
  });

  it('says every reason at once', async () => {
    await using fleet = await openFleet();
    await launch(fleet.world, fleet.bar, 'c2');
    await fleet.bar.disconnect();
    fleet.world.clock.advance(60_000);
    expect((await ask(fleet, { name: 'c2' })).error).toMatch(/offline since.*has an instance "c2"/);
  });

  it('a check says how it would go, and does nothing', async () => {
    await using fleet = await openFleet();
    fleet.bar.moves.blockers = [against('live')];
    const records = await lasting(fleet);
    const check = await ask(fleet, { check: true, allow: ['live', 'cold'] });
    expect(check.metadata).toEqual({
      rung: 'cold',
      running: true,
      disk: 4096,
      memory: 8192,
      blockers: [against('live')],
    });
    expect((await ask(fleet, { check: true })).metadata).not.toHaveProperty('rung');
    expect(await lasting(fleet)).toEqual(records);
  });

  it('its name on the target is taken while it is on its way', async () => {
    await using fleet = await openFleet();
    await until(fleet, 'park');
    const answer = await fleet.world.api('POST', '/1.0/instances?target=bar', { name: 'c1', source: { type: 'none' } });
    expect(answer.status).toBeGreaterThanOrEqual(400);
  });

  it('a host that tells something of the instance meanwhile is no reason', async () => {
    await using fleet = await openFleet();
    const { id } = await instanceOf(fleet);
    let told: Promise<void> | undefined;
    fleet.world.links.beforePost = (_connection, frame) => {
      if (frame.t === 'cmd' && frame.cmd.kind === 'check-target')
        told ??= fleet.foo.send(fleet.foo.event(id, 'Running'));
    };
    expect((await ask(fleet)).status).toBe(202);
    expect(told).toBeDefined();
    await told;
  });

  it('another change that began during the preflight is', async () => {
    await using fleet = await openFleet();
    const [first, second] = await Promise.all([ask(fleet), ask(fleet)]);
    expect(first.status + second.status).toBe(202 + 409);
    expect([first, second].find(({ status }) => status === 409)?.error).toMatch(/A move of "c1" is under way/);
  });
});
