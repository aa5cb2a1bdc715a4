import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { connectedHost, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';
import type { OperationRecord } from '../operations/operation.ts';
import type { InstanceRecord } from './instance.ts';

/** What two users, the host and time do to one instance, in any order. */
type Step =
  | { readonly does: 'ask'; readonly what: 'start' | 'stop' | 'restart' | 'freeze' | 'edit' | 'delete' | 'create' }
  | { readonly does: 'ask both'; readonly what: readonly [Ask, Ask] }
  | { readonly does: 'answer' | 'fail' | 'answer late' | 'cancel' | 'offline' | 'online' | 'sweep' | 'die' | 'a day' };
type Ask = 'start' | 'stop' | 'restart' | 'freeze' | 'edit' | 'delete' | 'create';

const ask = fc.constantFrom<Ask>('start', 'stop', 'restart', 'freeze', 'edit', 'delete', 'create');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: ask.map((what) => ({ does: 'ask', what }) as const) },
  { weight: 2, arbitrary: fc.tuple(ask, ask).map((what) => ({ does: 'ask both', what }) as const) },
  { weight: 5, arbitrary: fc.constant({ does: 'answer' } as const) },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom('fail', 'answer late', 'cancel', 'offline', 'online', 'sweep', 'die', 'a day')
      .map((does) => ({ does }) as const),
  },
);

function request(world: World, what: Ask) {
  switch (what) {
    case 'create':
      return world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' } });
    case 'edit':
      return world.api('PATCH', '/1.0/instances/c1', { config: { 'limits.cpu': '1' } });
    case 'delete':
      return world.api('DELETE', '/1.0/instances/c1');
    case 'start':
    case 'stop':
    case 'restart':
    case 'freeze':
      return world.api('PUT', '/1.0/instances/c1/state', { action: what });
  }
}

const answered = new Set([202, 400, 404, 409]);

async function take(world: World, host: FakeHost, step: Step): Promise<void> {
  const online = world.links.isOpen(host.connection);
  const [command] = host.pending();
  switch (step.does) {
    case 'ask':
      expect(answered).toContain((await request(world, step.what)).status);
      return;
    case 'ask both': {
      const both = await Promise.all(step.what.map((what) => request(world, what)));
      for (const { status } of both) expect(answered).toContain(status);
      return;
    }
    case 'answer':
      if (online) await host.work();
      return;
    case 'fail':
      if (online && command) await host.send(host.result(command, { error: { code: 'host_failed', message: 'no' } }));
      return;
    case 'answer late':
      // Done, but the answer waits in the spool for the next connection.
      if (command) host.result(command);
      return;
    case 'cancel': {
      const [operation] = await running(world);
      if (operation) await world.api('DELETE', `/1.0/operations/${operation.id}`);
      return;
    }
    case 'offline':
      if (online) await host.disconnect();
      return;
    case 'online':
      if (!online) await host.connect();
      await host.resend();
      return;
    case 'die': {
      const [id] = host.held.keys();
      if (id !== undefined && online) await host.send(host.event(id, 'Stopped'));
      return;
    }
    case 'sweep':
      return world.sweep();
    case 'a day':
      world.clock.advance(25 * 3600_000);
      return world.sweep();
  }
}

async function stored<T>(world: World, prefix: string): Promise<T[]> {
  return (await world.dump()).filter(({ pk }) => pk.startsWith(prefix)).map(({ data }) => data as T);
}

async function running(world: World): Promise<OperationRecord[]> {
  return (await stored<OperationRecord>(world, 'OPERATIONS#')).filter(({ status }) => status < 200);
}

/** One instance at most; at most one operation works on it, and it holds the lock; each command in the outbox has its operation. */
async function invariants(world: World): Promise<void> {
  const instances = await stored<InstanceRecord>(world, 'INSTANCES#');
  const operations = await running(world);
  expect(instances.length).toBeLessThanOrEqual(1);
  expect(instances.flatMap(({ task }) => task?.operation ?? [])).toEqual(operations.map(({ id }) => id));
  const waiting = (await world.dump()).filter(({ sk }) => sk.startsWith('OUT#'));
  expect(waiting.map(({ data }) => (data as { operation: string }).operation)).toEqual(operations.map(({ id }) => id));
}

describe('two users of one instance', () => {
  it('never have two tasks on it, and no lock outlives its operation', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        await using world = await openWorld();
        const host = await connectedHost(world, 'foo');
        await request(world, 'create');
        for (const next of steps) {
          world.clock.advance(1);
          await take(world, host, next);
          await invariants(world);
        }
        // Once nothing goes wrong any more, everything ends.
        if (!world.links.isOpen(host.connection)) await host.connect();
        await host.resend();
        world.clock.advance(61_000);
        await world.sweep();
        await host.work();
        expect(await running(world)).toEqual([]);
        await invariants(world);
      }),
      { numRuns: 60 },
    );
  });
});
