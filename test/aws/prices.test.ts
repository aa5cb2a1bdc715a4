import { afterAll, describe, expect, it } from 'vitest';

import { HEARTBEAT_MS, ROTATE_MAX_MS, ROTATE_MIN_MS } from '#shared/link/limits.ts';
import { sealTicket } from '../../functions/domain/streams/tickets.ts';
import { connectedHost, launch, type FakeHost } from '../fake-host.ts';
import { openWorld, type World } from '../world.ts';
import { emptyBill, meterFunctions, meterPorts, priceOf, sum, times, type Bill } from './metering.ts';

const HOUR_MS = 3600_000;
const HOURS_A_MONTH = 730;
const KEYS_A_SECOND = 5;
const ROTATION_MS = (ROTATE_MIN_MS + ROTATE_MAX_MS) / 2;

/** A world whose every call is on the bill. */
async function meteredWorld(): Promise<World & { bill: Bill }> {
  const bill = emptyBill();
  const world = await openWorld(1, (ports) => meterPorts(ports, bill));
  return { ...world, functions: meterFunctions(world.functions, bill), bill };
}

/** What a piece of work costs. */
async function billOf({ bill }: { bill: Bill }, work: () => Promise<unknown>): Promise<Bill> {
  const before = { ...bill };
  await work();
  return sum(bill, times(before, -1));
}

/** The host takes a new connection and leaves the old one, as it does every hour and a half. */
async function rotate(host: FakeHost): Promise<void> {
  const old = { connection: host.connection, context: host.context };
  await host.connect({ replaces: true });
  const fresh = { connection: host.connection, context: host.context };
  Object.assign(host, old);
  await host.disconnect();
  Object.assign(host, fresh);
}

const told: string[] = [];
const tell = (what: string, dollars: number, bill: Bill) => {
  const parts = Object.entries(bill).filter(([, count]) => count > 0);
  told.push(
    `${what}: $${dollars.toPrecision(3)} (${parts.map(([name, count]) => `${name} ${+count.toFixed(3)}`).join(', ')})`,
  );
};

describe('what AWS would bill', () => {
  afterAll(() => console.log(told.join('\n')));

  it('an idle host with five containers costs at most three cents a month', async () => {
    const world = await meteredWorld();
    const host = await connectedHost(world, 'h1');
    for (const name of ['a', 'b', 'c', 'd', 'e']) await launch(world, host, name);
    const rotation = await billOf(world, () => rotate(host));
    // There and back; API Gateway answers by itself.
    const heartbeats: Bill = { ...emptyBill(), messages: (2 * HOUR_MS) / HEARTBEAT_MS, connectionMinutes: 60 };
    const hour = sum(heartbeats, times(rotation, HOUR_MS / ROTATION_MS));
    tell('a rotation', priceOf(rotation), rotation);
    tell('an idle host-month', priceOf(hour) * HOURS_A_MONTH, hour);
    expect(priceOf(hour) * HOURS_A_MONTH).toBeLessThanOrEqual(0.03);
  });

  it('a deployment that does nothing costs less than half a dollar a month', async () => {
    const world = await meteredWorld();
    const sweep = await billOf(world, () => world.functions.job({ kind: 'sweep' }));
    tell('a sweep', priceOf(sweep), sweep);
    expect(priceOf(sweep) * 60 * HOURS_A_MONTH).toBeLessThan(0.5);
  });

  it('a minute of typing into a shell reads no record, and costs less than half a cent', async () => {
    const world = await meteredWorld();
    const [client, host] = [world.links.open(), world.links.open()];
    const exp = world.clock.now() + HOUR_MS;
    const send = (from: string, to: string, frame: object) => {
      const g = sealTicket(world.ports.deployment.ticketKey, Buffer.alloc(12, 1), { s: 's', from, to, exp });
      const requestContext = { connectionId: from, sourceIp: '192.0.2.1', authorizer: { kind: 'client' } };
      return world.functions.message({ requestContext, body: JSON.stringify({ s: 's', g, ...frame }) });
    };
    // A key; its echo, which acknowledges it; the echo's acknowledgement.
    const stroke = await billOf(world, async () => {
      await send(client, host, { t: 'd', q: 0, c: 0, b: 'YQ==' });
      await send(host, client, { t: 'd', q: 0, c: 1, b: 'YQ==', a: 1, k: [], w: 16 });
      await send(client, host, { t: 'a', a: 1, k: [], w: 16 });
    });
    expect(stroke).toMatchObject({ readUnits: 0, writeUnits: 0, invocations: 3, messages: 6 });
    const minute = times(stroke, 60 * KEYS_A_SECOND);
    tell('a minute of typing', priceOf(minute), minute);
    expect(priceOf(minute)).toBeLessThan(0.005);
  });

  it('ten thousand launches cost less than two dollars', async () => {
    const world = await meteredWorld();
    const host = await connectedHost(world, 'h1');
    const bill = await billOf(world, () => launch(world, host, 'c1'));
    tell('a launch', priceOf(bill), bill);
    expect(priceOf(bill)).toBeLessThan(2 / 10_000);
  });
});
