import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { FairleadError } from '#shared/errors.ts';
import { openFileObjects } from '../../embedded/file-objects.ts';
import type { GatewayRules } from '../../embedded/rules.ts';
import { openTestGateway, type TestGateway } from '../../embedded/test-gateway.ts';
import type { MessageEvent } from '../../../functions/ports/events.ts';
import { ask, line, type Answer } from './check.ts';
import { linkChecks } from './link.ts';
import { objectChecks } from './objects.ts';

const seen = (answers: readonly Answer[]) =>
  Object.fromEntries(answers.map((answer) => [answer.question, answer.seen]));

/** A gateway whose function answers as that of the control plane does, in so far as it is asked. */
function answering(gateway: () => TestGateway, rules: Partial<GatewayRules> = {}): Promise<TestGateway> {
  const message = async ({ requestContext: { connectionId }, body }: MessageEvent) => {
    const { t } = JSON.parse(body) as { t: string };
    const answer = t === 'hello' ? { t: 'welcome', conn: connectionId } : { t: 'refused' };
    await gateway().links.postText(connectionId, JSON.stringify(answer));
  };
  return openTestGateway({ message }, { rules });
}

describe('the probe', () => {
  it('says what was expected beside what was seen, and that a check broke', async () => {
    const answers = await ask(
      [
        { question: 'water is wet', expected: 'wet', look: async () => 'wet indeed' },
        { question: 'ice is hot', expected: 'hot', look: async () => 'cold' },
        { question: 'snow', expected: '', look: async () => 'white' },
        { question: 'steam', expected: 'steam', look: () => Promise.reject(new Error('burned')) },
      ],
      () => {},
    );
    expect(answers.map(line)).toEqual([
      'yes  water is wet: wet indeed',
      'NO   ice is hot: cold (expected: hot)',
      '     snow: white',
      'NO   steam: failed: burned (expected: steam)',
    ]);
  });
});

describe('the probe of a websocket API, tried on the local gateway', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await answering(() => gateway);
  });
  afterAll(() => gateway.stop());

  const post = async (connection: string, text: string) => {
    try {
      return (await gateway.links.postText(connection, text)) === 'gone' ? 410 : 200;
    } catch (error) {
      return (error as FairleadError).code === 'protocol' ? 413 : 500;
    }
  };

  it('finds the rules that it keeps', async () => {
    const url = `${gateway.url.replace('https', 'wss')}/1.0/fleet/link`;
    const answers = await ask(linkChecks({ url, options: { ca: gateway.ca }, post }), () => {});
    expect(answers.filter(({ asExpected }) => !asExpected)).toEqual([]);
    expect(seen(answers)).toMatchObject({
      'a frame of 32000 bytes is taken': 'answered',
      'a frame of 32768 bytes is taken': 'closed with 1009',
      'a message of 128000 bytes in fragments is taken': 'answered',
      'a message of 131072 bytes in fragments is taken': 'closed with 1009',
      '100 posts at once arrive': 'in order',
      'a post of 131072 bytes is taken': '413',
    });
  });

  it('notices a gateway that does otherwise', async () => {
    const lax: TestGateway = await answering(() => lax, { textOnly: false, maxFrameBytes: Infinity });
    const url = `${lax.url.replace('https', 'wss')}/1.0/fleet/link`;
    const chosen = linkChecks({ url, options: { ca: lax.ca }, post }).filter(({ question }) => /32769/.test(question));
    const answers = await ask(chosen, () => {});
    await lax.stop();
    expect(answers).toMatchObject([{ asExpected: false, seen: 'answered' }]);
  });
});

describe('the probe of signed URLs, tried on objects in files', () => {
  it('finds them as S3 should have them', async () => {
    const root = mkdtempSync(join(tmpdir(), 'fairlead-probe-'));
    const server = createServer((request, response) => void objects.handle(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const objects = await openFileObjects({
      root: join(root, 'objects'),
      publicUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      signingKey: createSecretKey(randomBytes(32)),
      clock: { now: () => Date.now() },
    });
    const answers = await ask(objectChecks({ prefix: 'upload/probe/', objects, passed: objects }), () => {});
    server.closeAllConnections();
    server.close();
    rmSync(root, { recursive: true });
    expect(answers.filter(({ asExpected }) => !asExpected)).toEqual([]);
    expect(answers).toHaveLength(10);
  });
});
