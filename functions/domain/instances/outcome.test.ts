import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { UpFrame } from '#shared/link/frames.ts';
import { connectedHost, type FakeHost } from '../../../test/fake-host.ts';
import { openWorld, type World } from '../../../test/world.ts';

/** A host to which a launch, an edit and a freeze of one instance were told, and every frame it sends about them, in the order it did. */
async function trace(world: World): Promise<{ host: FakeHost; frames: UpFrame[] }> {
  const host = await connectedHost(world, 'foo');
  await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' }, start: true });
  const [create] = host.pending();
  const created = host.result(create!);
  const [id = ''] = host.held.keys();
  const frames: UpFrame[] = [
    { t: 'progress', id: create!.id, text: 'half' },
    created,
    host.event(id, 'Stopped'),
    host.event(id, 'Running'),
    {
      t: 'report',
      n: host.nextNumber(),
      instances: [host.event(id, 'Frozen').instance],
      seq: host.nextSeq(),
      last: true,
      held: [id],
    },
    host.event(id, 'Running'),
  ];
  return { host, frames: [...frames, ...[...host.spool.values()].filter((frame) => !frames.includes(frame))] };
}

/** What is stored, but for what counts writes and knows when. */
async function settled(world: World): Promise<unknown[]> {
  const all = await world.dump();
  return all
    .filter(({ pk }) => !pk.startsWith('NONCE#'))
    .map(({ pk, sk, data }) => {
      const { metadata: _progress, key: _drawnByTheHost, ...rest } = data as Record<string, unknown>;
      return { pk, sk, data: rest };
    });
}

async function finalRecords(order: (frames: UpFrame[]) => UpFrame[]): Promise<unknown[]> {
  await using world = await openWorld();
  const { host, frames } = await trace(world);
  for (const frame of order(frames)) await host.send(frame);
  expect(host.spool.size).toBe(0);
  expect(host.inbox.filter(({ t }) => t === 'refused')).toEqual([]);
  return settled(world);
}

describe('what a host says', () => {
  it('three times and in any order ends in the same records', async () => {
    const expected = await finalRecords((frames) => frames);
    expect(JSON.stringify(expected)).toContain('"status":"Running"');
    const size = 8;
    const indexes = Array.from({ length: 3 * size }, (_, at) => at);
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(indexes, { minLength: indexes.length }), async (order) => {
        const records = await finalRecords((frames) => {
          expect(frames.length).toBeLessThanOrEqual(size);
          return order.flatMap((at) => frames[at % size] ?? []);
        });
        expect(records).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('all at once ends in the same records', async () => {
    const expected = await finalRecords((frames) => frames);
    await using world = await openWorld();
    const { host, frames } = await trace(world);
    await Promise.all([...frames, ...frames.toReversed(), ...frames].map((frame) => host.send(frame)));
    expect(await settled(world)).toEqual(expected);
  });

  it('of an older epoch or another instance is not taken', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' }, start: true });
    await host.work();
    const [id = ''] = host.held.keys();
    const event = host.event(id, 'Stopped');
    await host.send({ ...event, instance: { ...event.instance, epoch: 2 } });
    expect((await world.api('GET', '/1.0/instances/c1')).metadata).toMatchObject({ status: 'Running' });
  });

  it('tells listeners of what happened, in words of LXD', async () => {
    await using world = await openWorld();
    const host = await connectedHost(world, 'foo');
    const connection = world.links.open();
    const authorizer = { kind: 'events', id: 'viewer', project: 'default', types: 'lifecycle', opened: '0' };
    await world.functions.connect({ requestContext: { connectionId: connection, sourceIp: '', authorizer } });
    await world.api('POST', '/1.0/instances?target=foo', { name: 'c1', source: { type: 'none' }, start: true });
    await host.work();
    const [id = ''] = host.held.keys();
    await host.send(host.event(id, 'Stopped'));
    await world.api('DELETE', '/1.0/instances/c1');
    await host.work();
    const actions = world.links
      .texts(connection)
      .map((text) => JSON.parse(text) as { metadata: { action: string }; location: string })
      .map(({ metadata, location }) => `${metadata.action} ${location}`);
    expect(actions).toEqual([
      'instance-created foo',
      'instance-ready foo',
      'instance-shutdown foo',
      'instance-deleted foo',
    ]);
  });
});
