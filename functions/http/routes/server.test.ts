import { describe, expect, it } from 'vitest';

import { openWorld } from '../../../test/world.ts';

const LINK_URL = 'wss://abc123.execute-api.eu-central-1.amazonaws.com/live';
const HOST = '00000000-0000-4000-8000-000000000000';

describe('where websockets are opened', () => {
  it('is told to users and to hosts, when it is not at the public URL', async () => {
    const elsewhere = { linkUrl: LINK_URL };
    await using world = await openWorld(1, (ports) => ({
      ...ports,
      deployment: { ...ports.deployment, ...elsewhere },
    }));
    const server = await world.api('GET', '/1.0');
    const nonce = await world.api('POST', `/1.0/fleet/hosts/${HOST}/nonce`, {});
    expect(server.metadata).toMatchObject({ environment: { fleet_link: LINK_URL } });
    expect(nonce.metadata).toMatchObject({ link: LINK_URL });
  });

  it('is not said otherwise', async () => {
    await using world = await openWorld();
    const server = await world.api('GET', '/1.0');
    const nonce = await world.api('POST', `/1.0/fleet/hosts/${HOST}/nonce`, {});
    expect(server.metadata).not.toHaveProperty('environment.fleet_link');
    expect(nonce.metadata).not.toHaveProperty('link');
  });

  it('is nothing for strangers', async () => {
    const elsewhere = { linkUrl: LINK_URL };
    await using world = await openWorld(1, (ports) => ({
      ...ports,
      deployment: { ...ports.deployment, ...elsewhere },
    }));
    const server = await world.api('GET', '/1.0', undefined, { token: null });
    expect(server.metadata).not.toHaveProperty('environment');
  });
});
