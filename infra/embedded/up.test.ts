import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

import type { Functions } from '../../functions/functions.ts';
import type { Ports } from '../../functions/ports/ports.ts';
import { systemClock } from './clock.ts';
import { createLog } from './log.ts';
import { send } from './test-client.ts';
import { startEmbedded, type ClientFile, type Embedded, type EmbeddedOptions } from './up.ts';

let dataDir: string;
let running: Embedded[] = [];
let lines: string[] = [];
let ports: Ports;
let tokens = 0;

beforeEach(() => {
  dataDir = join(mkdtempSync(join(tmpdir(), 'up-')), 'data');
});
afterEach(async () => {
  for (const embedded of running.splice(0)) await embedded.stop();
  rmSync(join(dataDir, '..'), { recursive: true });
});

/** Small functions on the real ports: GET says what stands in a record, POST puts it there and queues a job, a message is sent back. */
function createFunctions(given: Ports): Functions {
  ports = given;
  const key = { pk: 'p', sk: 'a' };
  return {
    http: async (event) => {
      const found = await given.records.get<string>(key);
      if (event.requestContext.http.method === 'POST') {
        await given.records.transact([
          { op: 'put', key, data: event.body, when: found ? { rev: found.rev } : 'absent' },
        ]);
        await given.jobs.enqueue({ kind: 'ingest', project: 'p', operation: 'o' });
      }
      return { statusCode: 200, headers: {}, body: found?.data ?? '', isBase64Encoded: false };
    },
    authorize: async () => ({ allow: true, context: {} }),
    connect: async () => {},
    message: async ({ requestContext, body }) => void (await given.links.postText(requestContext.connectionId, body)),
    disconnect: async () => {},
    job: async (job) => given.log.info('job', { job }),
  };
}

async function start(options: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
  const clock = systemClock();
  const log = createLog({ clock, write: (line) => lines.push(line) });
  const bootstrapLocalUser = async () => ({ token: `local-${(tokens += 1)}` });
  const controlPlane = { createFunctions, bootstrapLocalUser };
  const embedded = await startEmbedded({
    listen: '127.0.0.1:0',
    dataDir,
    log,
    version: '1.2.3',
    controlPlane,
    ...options,
  });
  running.push(embedded);
  return embedded;
}

const certificate = () => readFileSync(join(dataDir, 'keys', 'server.crt'), 'utf8');
const clientFile = () => JSON.parse(readFileSync(join(dataDir, 'client.json'), 'utf8')) as ClientFile;

describe('an embedded control plane', () => {
  it('serves functions, records, jobs, objects and websockets on one port', async () => {
    const { url, fingerprint } = await start();
    const ca = certificate();
    await send(`${url}/`, { ca, method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'kept' });
    expect((await send(`${url}/`, { ca })).body.toString()).toBe('kept');
    await expect.poll(() => lines.join('')).toContain('"kind":"ingest"');

    const bytes = Buffer.from('bytes');
    const put = await ports.objects.signPut('a', {
      length: 5,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      once: true,
    });
    expect(put.url.startsWith(`${url}/objects/a?`)).toBe(true);
    expect((await send(put.url, { ca, method: 'PUT', headers: { ...put.headers }, body: bytes })).status).toBe(200);
    expect((await send(await ports.objects.signGet('a'), { ca })).body).toEqual(bytes);

    const socket = new WebSocket(`${url.replace('https', 'wss')}/1.0/fleet/link`, { ca });
    await once(socket, 'open');
    socket.send('echo');
    const [echo] = (await once(socket, 'message')) as [Buffer];
    expect(echo.toString()).toBe('echo');
    socket.close();

    expect(ports.deployment).toMatchObject({
      publicUrl: url,
      certificateFingerprint: fingerprint,
      certificate: ca,
      version: '1.2.3',
    });
    expect(ports.deployment.ticketKey.symmetricKeySize).toBe(32);
  });

  it('presents the certificate whose fingerprint it says', async () => {
    const { url, fingerprint } = await start();
    const socket: TLSSocket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', ca: certificate() });
    await once(socket, 'secureConnect');
    expect(createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex')).toBe(fingerprint);
    socket.destroy();
  });

  it('is the same after a restart: records, certificate, token; the client file has the new URL', async () => {
    const first = await start();
    const before = clientFile();
    expect(before).toEqual({
      url: first.url,
      fingerprint: first.fingerprint,
      token: expect.stringMatching(/^local-/) as string,
    });
    await ports.records.transact([{ op: 'put', key: { pk: 'p', sk: 'a' }, data: 'kept', when: 'absent' }]);
    await first.stop();
    const second = await start({ publicUrl: 'https://fleet.example.org/' });
    expect(second.fingerprint).toBe(first.fingerprint);
    expect(clientFile()).toEqual({ ...before, url: 'https://fleet.example.org' });
    expect((await ports.records.get({ pk: 'p', sk: 'a' }))?.data).toBe('kept');
    expect(await ports.objects.signGet('a')).toMatch(/^https:\/\/fleet.example.org\/objects\/a\?/);
  });

  it('makes a new token when the client file was lost or damaged', async () => {
    const first = await start();
    const { token } = clientFile();
    await first.stop();
    writeFileSync(first.clientFile, 'not JSON');
    await start();
    expect(clientFile().token).not.toBe(token);
  });

  it('lets nobody else on the machine read its data, whatever the umask and the directory’s mode', async () => {
    const before = process.umask(0);
    const first = await start();
    await ports.objects.put('a/b', Buffer.from('x'));
    await first.stop();
    chmodSync(dataDir, 0o777);
    await start();
    process.umask(before);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dataDir, { recursive: true }) as string[]) {
      const entry = statSync(join(dataDir, name));
      expect(entry.mode & 0o777, name).toBe(entry.isDirectory() ? 0o700 : 0o600);
    }
  });

  it(
    'does not share its directory, in this process or another, and takes over from a dead one',
    { timeout: 30_000 },
    async () => {
      await start();
      await expect(start()).rejects.toMatchObject({
        code: 'busy',
        message: expect.stringContaining(dataDir) as string,
      });
      await running.pop()?.stop();
      const other = spawn(process.execPath, ['--input-type=module', '-e', holder(dataDir)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(other.stdout, 'data');
      await expect(start()).rejects.toMatchObject({ code: 'busy' });
      other.kill('SIGKILL');
      await once(other, 'exit');
      await start();
    },
  );

  it('says which port is taken and what to do, and holds nothing afterwards', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    await expect(start({ listen: `127.0.0.1:${port}` })).rejects.toThrow(
      `127.0.0.1:${port} is already in use; stop the program`,
    );
    taken.close();
    await start();
  });

  it.each(['nowhere', '1.2.3.4', 'a b:1', '127.0.0.1:70000', '[::1]'])('refuses to listen on %j', async (listen) => {
    await expect(start({ listen })).rejects.toMatchObject({ code: 'bad_request' });
    expect(existsSync(dataDir)).toBe(false);
  });

  it.each(['fleet', 'http://fleet', 'https://fleet/path', 'https://u@fleet', 'https://fleet?x=1'])(
    'takes no public URL %j',
    async (publicUrl) => {
      await expect(start({ publicUrl })).rejects.toMatchObject({ code: 'bad_request' });
      expect(existsSync(dataDir)).toBe(false);
    },
  );

  it('listens on IPv6 too', async () => {
    const { url } = await start({ listen: '[::1]:0' });
    expect(url).toMatch(/^https:\/\/\[::1\]:\d+$/);
    expect((await send(`${url}/`, { ca: certificate() })).status).toBe(200);
  });

  it('logs no token and no signature', async () => {
    lines = [];
    const { stop } = await start();
    await stop();
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.join('')).not.toContain(clientFile().token);
  });
});

/** A program that holds the directory until it is killed. */
function holder(path: string): string {
  const module = JSON.stringify(new URL('data-directory.ts', import.meta.url).href);
  return `
    const { claimDataDirectory } = await import(${module});
    globalThis.held = claimDataDirectory(${JSON.stringify(path)});
    setInterval(() => {}, 1000);
    console.log('held');`;
}
