import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { dynamodbRecords } from '../../functions/aws/dynamodb-records.ts';
import { s3Objects } from '../../functions/aws/s3-objects.ts';
import { connectedHost, launch } from '../fake-host.ts';
import { goodImage, hashOf, importImage } from '../images.ts';
import { openWorld, seeded, type World } from '../world.ts';
import { BUCKET, clock, NO_CLOUD, openCloud, random, type Cloud } from './cloud.ts';
import type { Fault } from './fault-proxy.ts';

if (NO_CLOUD === undefined) onMoto();
else it.skip(`the control plane on AWS: ${NO_CLOUD}`);

const THROTTLED: Fault = { kind: 'error', status: 400, type: 'ThrottlingException', applied: false };
const LOST_AFTER: Fault = { kind: 'lost', applied: true };

function onMoto(): void {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await openCloud();
  });
  afterAll(() => cloud[Symbol.asyncDispose]());

  const worldOnAws = async (seed: number): Promise<World> => {
    const records = dynamodbRecords({ client: cloud.dynamodb, table: await cloud.emptyTable(), clock, random });
    const objects = s3Objects({ client: cloud.s3, bucket: BUCKET });
    return openWorld(seed, (ports) => ({ ...ports, records, objects }));
  };

  /** A host joins, a container is launched, seen, stopped, deleted, and the host leaves. */
  async function journey(world: World, name: string): Promise<void> {
    const host = await connectedHost(world, `host-${name}`);
    const operation = await launch(world, host, name);
    expect((await world.api('GET', `/1.0/operations/${operation}`)).metadata).toMatchObject({ status: 'Success' });
    expect((await world.api('GET', `/1.0/instances/${name}`)).metadata).toMatchObject({
      name,
      status: 'Running',
      location: `host-${name}`,
    });
    const stop = await world.api('PUT', `/1.0/instances/${name}/state`, { action: 'stop', timeout: 30, force: true });
    expect(stop.status).toBe(202);
    await host.work();
    expect((await world.api('DELETE', `/1.0/instances/${name}`)).status).toBe(202);
    await host.work();
    expect((await world.api('GET', `/1.0/instances/${name}`)).status).toBe(404);
    await host.disconnect();
    expect((await world.api('DELETE', `/1.0/fleet/hosts/host-${name}`)).status).toBe(200);
  }

  describe('the control plane on DynamoDB and S3', () => {
    it('takes a container from launch to deletion', async () => {
      await using world = await worldOnAws(1);
      cloud.proxy.begin();
      await journey(world, 'plain');
    });

    it('has an image that was uploaded', async () => {
      await using world = await worldOnAws(2);
      const bytes = goodImage();
      expect(await importImage(world, bytes)).toMatchObject({ status: 'Success' });
      expect((await world.api('GET', `/1.0/images/${hashOf(bytes)}`)).status).toBe(200);
      expect((await world.api('DELETE', `/1.0/images/${hashOf(bytes)}`)).status).toBe(202);
    });

    it.each([3, 4, 5])('does so while a sixth of the requests is throttled (seed %i)', async (seed) => {
      await using world = await worldOnAws(seed);
      const next = seeded(seed);
      cloud.proxy.begin(...Array.from({ length: 1000 }, () => (next() % 6 === 0 ? THROTTLED : 'pass')));
      await journey(world, `throttled-${seed}`);
    });

    it('creates an instance once when the answer to its transaction is lost', async () => {
      await using world = await worldOnAws(6);
      const host = await connectedHost(world, 'host-lost');
      cloud.proxy.begin();
      const passes = await requestsBefore(world, 'TransactWriteItems');
      cloud.proxy.begin(...passes, LOST_AFTER);
      const answer = await world.api('POST', '/1.0/instances?target=host-lost', {
        name: 'lost',
        source: { type: 'none' },
      });
      expect(answer.status).toBe(202);
      await host.work();
      expect((await world.api('GET', '/1.0/instances/lost')).status).toBe(200);
      expect(host.commands()).toHaveLength(2);
    });
  });

  /** As many requests as a creation makes before the first of this kind. */
  async function requestsBefore(world: World, what: string): Promise<'pass'[]> {
    await world.api('POST', '/1.0/instances?target=host-lost', { name: 'before', source: { type: 'none' } });
    const at = cloud.proxy.seen.findIndex((seen) => seen.what === what);
    return Array.from({ length: at }, () => 'pass');
  }
}
