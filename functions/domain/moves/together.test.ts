import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type FakeHost } from '../../../test/fake-host.ts';
import type { OperationRecord } from '../operations/operation.ts';
import type { MoveRecord } from './move.ts';
import { DAY, type Fleet, openFleet, settle, ask, stored, instanceOf, owners } from '../../../test/fake-fleet.ts';

/** What hosts, a user and time do while an instance is moved, in any order. */
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ does: fc.constant('answer' as const), host: fc.constantFrom(0, 1) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constantFrom('fail', 'answer late', 'offline', 'online', 'again' as const),
      host: fc.constantFrom(0, 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constantFrom('cancel', 'move', 'sweep', 'hour', 'day' as const),
      host: fc.constant(0),
    }),
  },
);

async function take(fleet: Fleet, does: string, host: FakeHost): Promise<void> {
  const { world } = fleet;
  const online = world.links.isOpen(host.connection);
  const [command] = host.pending();
  switch (does) {
    case 'answer':
      if (online && command) await host.send(host.result(command));
      return;
    case 'fail':
      if (online && command) await host.send(host.result(command, { error: { code: 'host_failed', message: 'no' } }));
      return;
    case 'answer late':
      // Done, but the answer waits in the spool.
      if (command) host.result(command);
      return;
    case 'again':
      if (online) await host.resend();
      return;
    case 'offline':
      if (online) await host.disconnect();
      return;
    case 'online':
      if (!online) await host.connect();
      await host.resend();
      return;
    case 'cancel':
      for (const { id, status } of await stored<OperationRecord>(world, 'OPERATIONS#')) {
        if (status < 200) await world.api('DELETE', `/1.0/operations/${id}`);
      }
      return;
    case 'move':
      await ask(fleet, { to: ((await instanceOf(fleet)).host === fleet.foo.id ? fleet.bar : fleet.foo).name });
      return;
    case 'sweep':
      return world.sweep();
    default:
      world.clock.advance(does === 'hour' ? 3_600_000 : DAY);
      return world.sweep();
  }
}

describe('an instance that is moved while anything happens', () => {
  it('is run by one host at most, and in the end by the one the registry names', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        await using fleet = await openFleet();
        const hosts = [fleet.foo, fleet.bar];
        const { id } = await instanceOf(fleet);
        await ask(fleet);
        for (const { does, host } of steps) {
          fleet.world.clock.advance(1);
          await take(fleet, does, hosts[host]!);
          expect(owners(fleet, id).length, 'I1').toBeLessThanOrEqual(1);
          expect((await instanceOf(fleet)).id).toBe(id);
        }
        for (const host of hosts) await take(fleet, 'online', host);
        for (let round = 0; round < 8; round++) {
          await settle(hosts);
          fleet.world.clock.advance(11 * 60_000);
          await fleet.world.sweep();
          for (const host of hosts) await host.resend();
        }
        const instance = await instanceOf(fleet);
        expect(instance.task).toBeUndefined();
        expect(owners(fleet, id)).toEqual(hosts.filter((host) => host.id === instance.host).map(({ name }) => name));
        expect(instance.status).toBe('Running');
        const moves = await stored<MoveRecord>(fleet.world, 'MOVES#');
        for (const { state } of moves) expect(['DONE', 'ABORTED']).toContain(state);
        expect((await stored<OperationRecord>(fleet.world, 'OPERATIONS#')).every(({ status }) => status >= 200)).toBe(
          true,
        );
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});
