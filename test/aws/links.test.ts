import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { gatewayLinks } from '../../functions/aws/gateway-links.ts';
import type { Links } from '../../functions/ports/links.ts';
import { clock, NO_CLOUD, openCloud, random, TOO_LATE_MS, type Cloud } from './cloud.ts';

if (NO_CLOUD === undefined) onMoto();
else it.skip(`posts through API Gateway: ${NO_CLOUD}`);

const error = (status: number, type: string) => ({ kind: 'error', status, type, applied: false }) as const;
const BUSY = error(429, 'LimitExceededException');
const CONNECTION = 'L0SM9cOFvHcCIhw=';

function onMoto(): void {
  let cloud: Cloud;
  let links: Links;
  beforeAll(async () => {
    cloud = await openCloud();
    links = gatewayLinks({ client: cloud.gateway, clock, random });
  });
  afterAll(() => cloud[Symbol.asyncDispose]());

  describe('posts through API Gateway', () => {
    it('send the frame as it is to the connection', async () => {
      cloud.proxy.begin();
      expect(await links.post(CONNECTION, { t: 'hb' })).toBe('sent');
      const [{ what, body } = { what: '', body: Buffer.from('') }] = cloud.proxy.seen;
      expect([decodeURIComponent(what), body.toString()]).toEqual([`POST /@connections/${CONNECTION}`, '{"t":"hb"}']);
    });

    it.each([
      ['is no more', error(410, 'GoneException')],
      ['is none of this API', { ...error(400, 'BadRequestException'), message: 'Invalid connectionId: x' }],
    ])('tell that a connection %s', async (_, fault) => {
      cloud.proxy.begin(fault);
      expect(await links.post(CONNECTION, { t: 'hb' })).toBe('gone');
    });

    it('wait a little when there are too many, and go through then', async () => {
      cloud.proxy.begin(BUSY, BUSY);
      expect(await links.postText(CONNECTION, 'x')).toBe('sent');
      expect(cloud.proxy.seen).toHaveLength(3);
    });

    it('do not wait for ever', async () => {
      cloud.proxy.begin(...Array.from({ length: 9 }, () => BUSY));
      await expect(links.postText(CONNECTION, 'x')).rejects.toMatchObject({ code: 'unavailable' });
      expect(cloud.proxy.seen).toHaveLength(4);
    });

    it.each([
      ['fails', error(500, 'InternalServerError')],
      ['is lost', { kind: 'lost', applied: true } as const],
      ['is answered too late', { kind: 'late', ms: TOO_LATE_MS } as const],
    ])('are not sent twice when one %s', async (_, fault) => {
      cloud.proxy.begin(fault);
      await expect(links.postText(CONNECTION, 'x')).rejects.toMatchObject({ code: 'unavailable' });
      expect(cloud.proxy.seen).toHaveLength(1);
    });

    it('refuse what no message holds, without asking', async () => {
      cloud.proxy.begin(error(413, 'PayloadTooLargeException'));
      await expect(links.postText(CONNECTION, 'x'.repeat(128_001))).rejects.toMatchObject({ code: 'protocol' });
      expect(cloud.proxy.seen).toHaveLength(0);
      await expect(links.postText(CONNECTION, 'x')).rejects.toMatchObject({ code: 'protocol' });
    });

    it('close a connection, also one that is gone', async () => {
      cloud.proxy.begin();
      await links.close(CONNECTION);
      cloud.proxy.begin(error(410, 'GoneException'));
      await links.close(CONNECTION);
    });
  });
}
