import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

import { hostileTarballs } from '#shared/image/hostile.fixture.ts';
import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';

let fleet: Fleet;
let folder: string;
let image: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'refusals-'));
  fleet = await Fleet.up({ name: 'refusals', hosts: ['foo'], disk: '48M' });
  image = (await ensureImage('busybox')).path;
  await fleet.must('image', 'import', image, '--alias', 'bb');
});

afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** The one line a refused command says. */
async function refused(...args: string[]): Promise<string> {
  const { code, stderr } = await fleet.fairlead(args);
  expect(code, args.join(' ')).toBe(1);
  return stderr.trim().split('\n').at(-1) ?? '';
}

async function names(collection: string): Promise<string[]> {
  return (await fleet.api('GET', `/1.0/${collection}`)).body.metadata as string[];
}

describe('what is named wrongly is refused with a sentence, and nothing is made', () => {
  afterAll(async () => expect(await names('instances')).toEqual([]));

  it.each([
    [['launch', 'nosuch', 'foo:c1'], /"nosuch".*image list/],
    [['launch', 'bb', 'nohost:c1'], /[Hh]ost "nohost" not found.*host list/],
    [['launch', 'bb', 'foo:c1', '-p', 'nope'], /[Pp]rofile "nope" not found/],
    [['launch', 'bb', 'foo:c1', '-c', 'limits.memroy=1GB'], /[Uu]nknown configuration key.*limits\.memroy/],
    [['launch', 'bb', 'foo:c1', '-c', 'limits.memory=plenty'], /limits\.memory.*plenty/],
    [
      ['launch', 'bb', 'foo:c1', '-c', 'environment.A=b\nlxc.hook.pre-start=/x'],
      /environment\.A.*control character|line break/,
    ],
    [['launch', 'bb', 'foo:-c1-'], /not a valid instance name/],
    [['launch', 'bb', `foo:${'c'.repeat(64)}`], /not a valid instance name/],
    [['launch', 'bb', 'foo:c_1'], /not a valid instance name/],
    [['start', 'foo:c1'], /"c1" not found/],
  ])('fairlead %j', async (args, sentence) => {
    expect(await refused(...args)).toMatch(sentence);
  });

  it('what the host does not allow is refused by the host, and undone', async () => {
    expect(await refused('launch', 'bb', 'foo:c1', '-c', 'security.privileged=true')).toMatch(/policy of this host/i);
    expect(
      await fleet.host('foo').must(['find', '/var/lib/fairlead', '-mindepth', '2', '-path', '*/instances/*']),
    ).toBe('');
  });
});

describe('instances', () => {
  beforeAll(() => fleet.must('launch', 'bb', 'foo:c1'));
  afterAll(() => fleet.must('delete', '--force', 'foo:c1'));

  it('a second of the same name is refused', async () => {
    expect(await refused('launch', 'bb', 'foo:c1')).toMatch(/"c1" already exists/);
  });

  it('a running one is not deleted', async () => {
    expect(await refused('delete', 'foo:c1')).toMatch(/running.*--force/i);
  });

  it('a running one is not started again', async () => {
    expect(await refused('start', 'foo:c1')).toMatch(/already running/);
  });

  it('a change made on stale knowledge is refused', async () => {
    const { headers, body } = await fleet.api('GET', '/1.0/instances/c1?target=foo');
    const put = (etag: string) =>
      fleet.api('PUT', '/1.0/instances/c1?target=foo', body.metadata, { headers: { 'if-match': etag } });
    expect((await put('"old"')).status).toBe(412);
    expect((await put(String(headers['etag']))).status).toBe(202);
  });
});

describe('join tokens', () => {
  const join = async (token: string, name: string) =>
    fleet.connector('foo', 'join', token, '--name', name, '--state-dir', `/tmp/${name}`);

  it('work once', async () => {
    const token = (await fleet.must('host', 'token')).trim();
    expect((await join(token, 'once')).code).toBe(0);
    const again = await join(token, 'twice');
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/used already/) });
    await fleet.must('host', 'remove', 'once');
  });

  it('of 50 at once exactly one wins', async () => {
    const token = (await fleet.must('host', 'token')).trim();
    const { i, s } = JSON.parse(Buffer.from(token.slice(4), 'base64url').toString()) as { i: string; s: string };
    const { exportJWK, generateKeyPair, CompactSign } = await import('jose');
    const { metadata } = (await fleet.api('GET', '/1.0/fleet/hosts/foo')).body;
    const { facts } = metadata as { facts: object };
    const tries = Array.from({ length: 50 }, async (_, n) => {
      const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
      const payload = new TextEncoder().encode(JSON.stringify({ token: i, aud: fleet.url }));
      const proof = await new CompactSign(payload)
        .setProtectedHeader({ alg: 'EdDSA', typ: 'fl-enroll+jwt' })
        .sign(privateKey);
      const { kty, crv, x } = await exportJWK(publicKey);
      return fleet.api(
        'POST',
        '/1.0/fleet/enroll',
        { token: i, secret: s, name: `racer${n}`, key: { kty, crv, x }, proof, facts },
        { token: null },
      );
    });
    const answers = await Promise.all(tries);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const racers = ((await fleet.api('GET', '/1.0/fleet/hosts')).body.metadata as { name: string }[]).filter(
      ({ name }) => name.startsWith('racer'),
    );
    expect(racers).toHaveLength(1);
    await fleet.must('host', 'remove', racers[0]!.name);
  });

  it('expire', async () => {
    const token = (await fleet.must('host', 'token', '--ttl', '1')).trim();
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(await join(token, 'late')).toMatchObject({ code: 1, stderr: expect.stringMatching(/expired/) });
  });
});

describe('image uploads', () => {
  afterAll(async () => expect(await names('images')).toHaveLength(1));

  it.each(['truncated', 'no tarball at all'])('%s: refused, nothing kept', async (what) => {
    const bytes = await readFile(image);
    const file = join(folder, 'bad.tar.gz');
    await writeFile(file, what === 'truncated' ? bytes.subarray(0, bytes.length / 2) : Buffer.alloc(5000, 'x'));
    expect(await refused('image', 'import', file)).toMatch(/broken|no tarball|bad|ends/i);
  });

  it('the same image twice', async () => {
    expect(await refused('image', 'import', image)).toMatch(/already exists/);
  });

  it('other bytes than announced', async () => {
    const good = await readFile(image);
    const sha256 = createHash('sha256').update(good).digest('hex');
    const other = '0'.repeat(64);
    const announced = { size: good.length, sha256: other, parts: [{ length: good.length, sha256 }] };
    const { metadata } = (await fleet.api('POST', '/1.0/fleet/uploads', announced)).body;
    const { id, parts } = metadata as { id: string; parts: { url: string; headers: Record<string, string> }[] };
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    const put = (body: Buffer) =>
      fetch(parts[0]!.url, { method: 'PUT', headers: parts[0]!.headers, body: new Uint8Array(body) });
    expect((await put(Buffer.alloc(good.length))).status).toBe(400);
    expect((await put(good)).status).toBe(200);
    expect((await put(good)).status).toBe(412);
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    const { operation } = (await fleet.api('POST', '/1.0/images', { source: { type: 'upload', upload: id } })).body;
    const ended = (await fleet.api('GET', `${operation}/wait?timeout=20`)).body.metadata as {
      err: string;
      status: string;
    };
    expect(ended).toMatchObject({ status: 'Failure', err: expect.stringContaining('SHA-256') });
  });

  it.each(hostileTarballs().map(({ name, bytes, why }) => [name, bytes, why] as const))(
    'hostile: %s',
    async (_name, bytes, why) => {
      const file = join(folder, 'hostile.tar');
      await writeFile(file, bytes);
      expect(await refused('image', 'import', file)).toMatch(why);
    },
  );
});

describe('requests', () => {
  it('a body over the limit is refused with the way that works', async () => {
    const { status, body } = await fleet.api('POST', '/1.0/instances', { description: 'x'.repeat(2_000_000) });
    expect({ status, error: body.error }).toMatchObject({
      status: 413,
      error: expect.stringContaining('/1.0/fleet/uploads'),
    });
  });

  it('a body that is no JSON, or nests too deeply', async () => {
    expect((await fleet.api('POST', '/1.0/instances', '{"name":')).body.error).toMatch(/not valid JSON/);
    expect((await fleet.api('POST', '/1.0/instances', `${'['.repeat(5000)}${']'.repeat(5000)}`)).status).toBe(400);
  });

  it('without a token, or with a wrong one', async () => {
    expect((await fleet.api('GET', '/1.0/instances', undefined, { token: null })).status).toBe(403);
    expect(
      (
        await fleet.api('GET', '/1.0/instances', undefined, {
          token: `flp_${'0'.repeat(8)}-0000-0000-0000-000000000000_${'0'.repeat(64)}`,
        })
      ).status,
    ).toBe(401);
    expect((await fleet.api('GET', '/1.0/nothing/here')).status).toBe(404);
  });

  it.each([
    ['no JSON', 'hello?', /does not parse/],
    ['an unknown kind', '{"t":"surprise"}', /not a frame/],
  ])('a frame that is %s is answered with the reason, and the connection stays', async (_what, text, reason) => {
    const { token } = await fleet.client();
    const socket = new WebSocket(`${fleet.url.replace('https', 'wss')}/1.0/fleet/link`, {
      headers: { authorization: `Bearer ${token}` },
      rejectUnauthorized: false,
    });
    const answers: string[] = [];
    socket.on('message', (data: Buffer) => answers.push(data.toString()));
    await new Promise((resolve) => socket.once('open', resolve));
    // Again and again, since the link may lose any frame.
    await until('the reason', async () => {
      socket.send(text);
      return answers.some((answer) => reason.test(answer));
    });
    expect(JSON.parse(answers.find((answer) => reason.test(answer)) ?? '')).toMatchObject({ t: 'refused' });
    expect(socket.readyState).toBe(WebSocket.OPEN);
    socket.terminate();
  });

  it('a frame that is too large closes the connection with 1009, a binary one with 1003', async () => {
    const { token } = await fleet.client();
    const closed = async (payload: string | Buffer) => {
      const socket = new WebSocket(`${fleet.url.replace('https', 'wss')}/1.0/fleet/link`, {
        headers: { authorization: `Bearer ${token}` },
        rejectUnauthorized: false,
      });
      const code = new Promise<number>((resolve) => socket.once('close', resolve));
      await new Promise((resolve) => socket.once('open', resolve));
      socket.send(payload);
      return code;
    };
    expect(await closed('x'.repeat(40_000))).toBe(1009);
    expect(await closed(Buffer.from([1]))).toBe(1003);
  });
});

it('a full disk on the host fails the launch with the reason, and leaves nothing', async () => {
  await fleet.host('foo').fillDisk();
  expect(await refused('launch', 'bb', 'foo:full')).toMatch(/disk|space/i);
  await fleet.host('foo').freeDisk();
  expect(await names('instances')).toEqual([]);
  await fleet.must('launch', 'bb', 'foo:full');
  await fleet.must('delete', '--force', 'foo:full');
});
