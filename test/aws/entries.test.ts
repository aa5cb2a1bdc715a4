import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { HttpResult } from '../../functions/ports/events.ts';
import { goodImage, hashOf } from '../images.ts';
import { send } from '../../infra/embedded/test-client.ts';
import { loadTicketKey } from '../../functions/aws/ticket-key.ts';
import { BUCKET, CREDENTIALS, NO_CLOUD, openCloud, random, REGION, type Cloud } from './cloud.ts';

if (NO_CLOUD === undefined) onMoto();
else it.skip(`the Lambda functions: ${NO_CLOUD}`);

const PUBLIC_URL = 'https://fairlead.example';
const LINK_URL = 'wss://abc.execute-api.eu-west-1.amazonaws.com/live';
const ARN = 'arn:aws:execute-api:eu-west-1:111122223333:abc/live/$connect';
const SOURCE = '192.0.2.1';

/** The entry points as Lambda loads them: configured by the environment, once. */
async function load(cloud: Cloud) {
  Object.assign(process.env, {
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    AWS_ENDPOINT_URL: cloud.proxy.url,
    LINK_ENDPOINT: cloud.proxy.url,
    LINK_URL,
    PUBLIC_URL,
    TABLE: await cloud.emptyTable(),
    BUCKET,
  });
  const [http, authorizer, link, jobs, bootstrap] = await Promise.all([
    import('../../functions/aws/http.ts'),
    import('../../functions/aws/authorizer.ts'),
    import('../../functions/aws/link.ts'),
    import('../../functions/aws/jobs.ts'),
    import('../../functions/aws/bootstrap.ts'),
  ]);
  return {
    http: http.handler,
    authorizer: authorizer.handler,
    link: link.handler,
    jobs: jobs.handler,
    bootstrap: bootstrap.handler,
  };
}

function onMoto(): void {
  let cloud: Cloud;
  let lambda: Awaited<ReturnType<typeof load>>;
  let token = '';
  beforeAll(async () => {
    cloud = await openCloud();
    lambda = await load(cloud);
    token = (await lambda.bootstrap()).token;
  });
  afterAll(() => cloud[Symbol.asyncDispose]());
  beforeEach(() => cloud.proxy.begin());

  const api = async (method: string, path: string, body?: unknown) => {
    const [rawPath = '', rawQueryString = ''] = path.split('?');
    const answer: HttpResult = await lambda.http({
      version: '2.0',
      rawPath,
      rawQueryString,
      headers: { authorization: `Bearer ${token}`, host: 'abc.execute-api.eu-west-1.amazonaws.com' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      isBase64Encoded: false,
      requestContext: { http: { method, sourceIp: SOURCE }, requestId: 'r' },
    });
    const { metadata, error } = JSON.parse(answer.body) as { metadata: never; error?: string };
    return { status: answer.statusCode, metadata, error };
  };
  const open = (path: string, bearer: string) =>
    lambda.authorizer({
      methodArn: ARN,
      headers: { Authorization: `Bearer ${bearer}` },
      queryStringParameters: { path },
      requestContext: { connectionId: 'C=', identity: { sourceIp: SOURCE } },
    });
  const deliver = (
    eventType: 'CONNECT' | 'MESSAGE' | 'DISCONNECT',
    authorizer: object,
    connectionId: string,
    body?: string,
  ) =>
    lambda.link({
      requestContext: {
        eventType,
        connectionId,
        identity: { sourceIp: SOURCE },
        // What API Gateway adds is no string.
        authorizer: { ...authorizer, integrationLatency: 12 },
      },
      ...(body !== undefined && { body }),
    });
  const posted = () => cloud.proxy.seen.filter(({ what }) => what.startsWith('POST /@connections/'));

  describe('the Lambda functions', () => {
    it('answer whoever the first login made an administrator', async () => {
      expect(await lambda.bootstrap()).toEqual({ url: PUBLIC_URL, token: expect.stringMatching(/^flp_/) });
      const answer = await api('GET', '/1.0');
      expect([answer.status, answer.metadata]).toMatchObject([
        200,
        { auth: 'trusted', environment: { fleet_link: LINK_URL } },
      ]);
    });

    it('allow a websocket to whoever may have one, with a context of texts', async () => {
      const policy = await open('/1.0/events', token);
      expect(policy).toMatchObject({
        principalId: 'local',
        policyDocument: { Statement: [{ Effect: 'Allow', Resource: ARN, Action: 'execute-api:Invoke' }] },
        context: { kind: 'events', id: 'local' },
      });
      expect(Object.values(policy.context).every((value) => typeof value === 'string')).toBe(true);
      expect((await open('/1.0/fleet/link', token)).context).toMatchObject({ kind: 'client' });
    });

    it('deny it to everybody else', async () => {
      const [statement] = (await open('/1.0/events', `${token.slice(0, -1)}x`)).policyDocument.Statement;
      expect(statement.Effect).toBe('Deny');
    });

    it('welcome a client that says hello', async () => {
      const { context } = await open('/1.0/fleet/link', token);
      await deliver('CONNECT', context, 'C1=');
      cloud.proxy.begin();
      await deliver('MESSAGE', context, 'C1=', JSON.stringify({ t: 'hello', v: 1, boot: 'b' }));
      const [welcome] = posted();
      expect(decodeURIComponent(welcome?.what ?? '')).toBe('POST /@connections/C1=');
      expect(JSON.parse(welcome?.body.toString() ?? '')).toMatchObject({ t: 'welcome', conn: 'C1=' });
      await deliver('DISCONNECT', context, 'C1=');
    });

    it('send events to a listener until it is gone', async () => {
      const { context } = await open('/1.0/events', token);
      await deliver('CONNECT', context, 'C2=');
      cloud.proxy.begin();
      await api('POST', '/1.0/profiles', { name: 'p1' });
      expect(posted().length).toBeGreaterThan(0);
      await deliver('DISCONNECT', context, 'C2=');
      cloud.proxy.begin();
      await api('POST', '/1.0/profiles', { name: 'p2' });
      expect(posted()).toEqual([]);
    });

    it('take an image in parts, check it as a job, and have it in the end', async () => {
      const bytes = goodImage();
      const part = { length: bytes.length, sha256: hashOf(bytes) };
      const upload = { size: bytes.length, sha256: part.sha256, parts: [part] };
      const begun = await api('POST', '/1.0/fleet/uploads', upload);
      const { id, parts } = begun.metadata as { id: string; parts: [{ url: string; headers: Record<string, string> }] };
      expect((await send(parts[0].url, { method: 'PUT', headers: parts[0].headers, body: bytes })).status).toBe(200);
      cloud.proxy.begin();
      const publication = { source: { type: 'upload', upload: id }, aliases: [{ name: 'bb/1.36' }] };
      expect((await api('POST', '/1.0/images', publication)).status).toBe(202);
      const job = cloud.proxy.seen
        .map(({ what }) => /^PUT .*(jobs\/.*)$/.exec(what)?.[1])
        .find((key) => key !== undefined);
      const told = { Records: [{ s3: { object: { key: job ?? '' } } }] };
      await lambda.jobs(told);
      expect((await api('GET', `/1.0/images/${part.sha256}`)).metadata).toMatchObject({ size: bytes.length });
      // S3 may tell of it again.
      cloud.proxy.begin();
      await lambda.jobs(told);
      expect(cloud.proxy.seen).toHaveLength(1);
      // API Gateway decodes the path.
      expect((await api('GET', '/1.0/images/aliases/bb/1.36')).metadata).toMatchObject({ target: part.sha256 });
    });

    it('sweep by the minute', async () => {
      await lambda.jobs({ 'detail-type': 'Scheduled Event' });
    });

    it('answer in the form of LXD when a store does not answer', async () => {
      cloud.proxy.begin(...Array.from({ length: 9 }, () => ({ kind: 'lost', applied: false }) as const));
      expect(await api('GET', '/1.0/profiles')).toMatchObject({
        status: 503,
        error: expect.stringContaining('look again'),
      });
    });
  });

  describe('the ticket key', () => {
    const s3 = (maxAttempts = 3) =>
      new S3Client({
        endpoint: cloud.proxy.url,
        region: REGION,
        credentials: CREDENTIALS,
        forcePathStyle: true,
        maxAttempts,
        requestChecksumCalculation: 'WHEN_REQUIRED',
      });
    const key = { Bucket: BUCKET, Key: 'keys/ticket' };
    const text = async () => (await cloud.s3.send(new GetObjectCommand(key))).Body?.transformToByteArray();

    it('is made once, whoever starts first', async () => {
      await cloud.s3.send(new DeleteObjectCommand(key));
      const keys = await Promise.all(
        Array.from({ length: 5 }, () => loadTicketKey({ client: s3(), bucket: BUCKET, random })),
      );
      const kept = Buffer.from((await text()) ?? []).toString('hex');
      expect(new Set(keys.map((made) => made.export().toString('hex')))).toEqual(new Set([kept]));
    });

    it('that is damaged is not replaced', async () => {
      await cloud.s3.send(new PutObjectCommand({ ...key, Body: 'short' }));
      await expect(loadTicketKey({ client: s3(), bucket: BUCKET, random })).rejects.toMatchObject({
        code: 'unavailable',
      });
      expect(Buffer.from((await text()) ?? []).toString()).toBe('short');
    });

    it('that cannot be read is not made anew', async () => {
      const refused = { kind: 'error', status: 500, type: 'InternalError', applied: false } as const;
      cloud.proxy.begin(refused);
      const loading = loadTicketKey({ client: s3(1), bucket: BUCKET, random });
      await expect(loading).rejects.toMatchObject({ code: 'unavailable' });
      expect(cloud.proxy.seen.map(({ what }) => what.split(' ')[0])).toEqual(['GET']);
    });
  });
}
