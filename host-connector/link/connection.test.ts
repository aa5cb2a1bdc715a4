import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compactVerify, importJWK } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import type { UpFrame } from '#shared/link/frames.ts';
import { HANDSHAKE_MS, LIVENESS_MS, REPEAT_MIN_MS } from '#shared/link/limits.ts';
import { fingerprintOf, selfSigned } from '../../infra/embedded/certificate.ts';
import { openDatabase } from '../database.ts';
import { loadOrMakeKey, type HostKey } from '../identity/key.ts';
import type { HostRecord } from '../identity/record.ts';
import { Connection, type LinkListener } from './connection.ts';
import { dialler } from './dial.ts';
import { mockGateway, type Guest, type MockGateway, type Mood } from './mock-gateway.ts';
import { REFUSED_RETRY_MS, RETIRE_MS } from './plan.ts';
import { Pump } from './pump.ts';
import { Spool } from './spool.ts';

const random = {
  bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
  uuid: () => crypto.randomUUID(),
};
const certificate = selfSigned(['127.0.0.1'], { now: () => Date.now() }, random);
const pin = fingerprintOf(certificate.certificate);

let gateway: MockGateway;
let folder: string;
let key: HostKey;
const ends: (() => void | Promise<void>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead-link-'));
  key = await loadOrMakeKey(folder);
  gateway = await mockGateway(certificate);
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  gateway.mood = 'fine';
  gateway.welcome = {};
  gateway.answer = undefined;
  gateway.guests.length = 0;
  gateway.posts.length = 0;
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true });
});

/**
 * A link to the gateway. Its clock runs with the real one and can be moved on: sockets are real, waiting is not.
 */
function link(change: Partial<LinkListener> = {}, identity: Partial<HostRecord> = {}) {
  let ahead = 0;
  const tasks = new Set<{ at: number; task: () => void; timer?: NodeJS.Timeout }>();
  const now = (): number => performance.now() + ahead;
  const arm = (entry: { at: number; task: () => void; timer?: NodeJS.Timeout }): void => {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(
      () => {
        tasks.delete(entry);
        entry.task();
      },
      Math.max(0, entry.at - now()),
    );
  };
  const world = {
    now,
    random: () => 0.5,
    schedule: (ms: number, task: () => void) => {
      const entry = { at: now() + ms, task };
      tasks.add(entry);
      arm(entry);
      return () => {
        clearTimeout((entry as { timer?: NodeJS.Timeout }).timer);
        tasks.delete(entry);
      };
    },
  };
  const advance = async (ms: number): Promise<void> => {
    ahead += ms;
    for (const entry of tasks) arm(entry);
    await sleep(20);
  };
  const log: string[] = [];
  const db = openDatabase(join(folder, crypto.randomUUID()));
  const spool = new Spool(db);
  const pump = new Pump(spool, world);
  const record: HostRecord = {
    hostId: 'h1',
    name: 'foo',
    url: gateway.url,
    pin,
    secret: { generation: 3, value: 'first' },
    ...identity,
  };
  const listener: LinkListener = {
    hello: (replaces) => Promise.resolve({ t: 'hello', v: 1, boot: 'b1', ...(replaces && { replaces }) }),
    welcome: () => Promise.resolve(),
    serving: (line) => pump.use(line),
    frame: (frame) => (frame.t === 'got' ? pump.got(frame.n) : void log.push(frame.t)),
    closed: (line) => connection.line === line && pump.use(undefined),
    unknown: (text) => void log.push(`unknown ${text}`),
    urgent: () => false,
    giveUp: () => void log.push('give-up'),
    ...change,
  };
  const connection = new Connection(
    dialler(() => record, key, 'b1'),
    world,
    listener,
    (_level, text) => log.push(text),
  );
  ends.push(() => {
    connection.stop();
    for (const { timer } of tasks) clearTimeout(timer);
    db.close();
  });
  connection.start();
  return { connection, spool, pump, advance, log };
}

async function until<T>(what: () => T | undefined | false, within = 3_000): Promise<T> {
  for (const end = performance.now() + within; performance.now() < end; await sleep(5)) {
    const found = what();
    if (found) return found;
  }
  throw new Error('it did not happen');
}

function ofKind<K extends UpFrame['t']>(guest: Guest | undefined, t: K): Extract<UpFrame, { t: K }>[] {
  return (guest?.frames ?? []).filter((frame): frame is Extract<UpFrame, { t: K }> => frame.t === t);
}

describe('dialling', () => {
  it('proves possession of the key over the nonce it was given', async () => {
    const { connection } = link();
    await until(() => connection.line);
    const [post] = gateway.posts;
    expect(post?.path).toBe('/1.0/fleet/hosts/h1/nonce');
    const jws = gateway.guests[0]!.authorization.replace('Bearer ', '');
    const { payload, protectedHeader } = await compactVerify(jws, await importJWK(key.jwk, 'EdDSA'));
    expect(protectedHeader).toEqual({ alg: 'EdDSA', typ: 'fl-host+jwt', kid: key.thumbprint });
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({
      iss: 'host:h1',
      aud: 'fl:ws',
      nonce: 'n1',
      gen: 3,
      isec: 'a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e',
      boot: 'b1',
    });
    expect(gateway.guests[0]!.frames[0]).toEqual({ t: 'hello', v: 1, boot: 'b1' });
  });

  it('goes where the control plane says that its websockets are', async () => {
    const elsewhere = `${gateway.url.replace('https', 'wss')}/live`;
    gateway.answer = () => ({ status: 200, body: { type: 'sync', metadata: { nonce: 'n', now: 0, link: elsewhere } } });
    const { connection } = link();
    await until(() => connection.line);
    expect(gateway.guests[0]!.path).toBe('/live?path=%2F1.0%2Ffleet%2Flink');
  });

  it('sends no proof over a websocket without TLS', async () => {
    const elsewhere = `${gateway.url.replace('https', 'ws')}/live`;
    gateway.answer = () => ({ status: 200, body: { type: 'sync', metadata: { nonce: 'n', now: 0, link: elsewhere } } });
    const { log } = link();
    await until(() => log.some((line) => line.includes('gave no nonce')));
    expect(gateway.guests).toEqual([]);
  });

  it.each<[Mood, string]>([
    ['mute-tcp', 'dialling'],
    ['mute-nonce', 'dialling'],
    ['mute-upgrade', 'dialling'],
    ['mute-welcome', 'greeting'],
  ])('gives up a %s within the handshake and dials again', async (mood, phase) => {
    gateway.mood = mood;
    const { connection, advance, log } = link();
    await until(() =>
      mood === 'mute-tcp' ? true : mood === 'mute-welcome' ? gateway.guests[0]?.frames[0] : gateway.posts[0],
    );
    await sleep(50);
    await advance(HANDSHAKE_MS);
    expect(log.join()).toContain(`${phase} took longer than`);
    gateway.mood = 'fine';
    await advance(1_000);
    await until(() => connection.line);
  });

  it.each<[Mood, string]>([
    ['refuse-nonce', 'no such host'],
    ['refuse-upgrade', 'this host was revoked'],
  ])('after a refusal (%s) waits minutes, and says why', async (mood, why) => {
    gateway.mood = mood;
    const { connection, advance, log } = link();
    await until(() => log.some((line) => line.includes(why)));
    gateway.mood = 'fine';
    await advance(60_000);
    expect(connection.line).toBeUndefined();
    await advance(REFUSED_RETRY_MS);
    await until(() => connection.line);
  });

  it('sends nothing to a server with another certificate', async () => {
    const { log } = link({}, { pin: 'ab'.repeat(32) });
    await until(() => log.some((line) => line.includes('shows another certificate')));
    expect(gateway.posts).toEqual([]);
  });

  it('sends nothing to a self-signed server when nothing was pinned', async () => {
    const { log } = link({}, { pin: undefined });
    await until(() => log.some((line) => line.includes('is not trusted on this host')));
    expect(gateway.posts).toEqual([]);
  });

  it('sends no secret over plain http to another machine', async () => {
    const { log } = link({}, { url: 'http://192.0.2.1:8443' });
    await until(() => log.some((line) => line.includes('in clear')));
  });
});

describe('a line', () => {
  it('serves only after the new secret was stored, and loses no frame that came meanwhile', async () => {
    let stored: (() => void) | undefined;
    const { connection, log } = link({ welcome: () => new Promise((resolve) => (stored = resolve)) });
    const guest = await until(() => gateway.guests[0]);
    await until(() => stored);
    guest.send({ t: 'report-now' });
    await sleep(30);
    expect([connection.line, log.includes('report-now')]).toEqual([undefined, false]);
    stored?.();
    await until(() => log.includes('report-now'));
    expect(connection.line).toBeDefined();
  });

  it('is dead when a heartbeat has no echo through the cloud, though TCP lives', async () => {
    const { connection, advance } = link();
    await until(() => connection.line);
    gateway.mood = 'mute-welcome';
    await advance(480_000);
    await until(() => ofKind(gateway.guests[0], 'hb')[0]);
    gateway.mood = 'fine';
    await advance(LIVENESS_MS);
    await until(() => !gateway.guests[0]!.open);
    await advance(1_000);
    await until(() => connection.line && gateway.guests.length === 2);
  });

  it('lives on while heartbeats are answered', async () => {
    const { connection, advance } = link();
    await until(() => connection.line);
    for (let beat = 1; beat <= 3; beat += 1) {
      await advance(480_000);
      await until(() => ofKind(gateway.guests[0], 'hb').length === beat);
    }
    expect(gateway.guests).toHaveLength(1);
  });

  it('is rotated by making the new one before breaking the old one', async () => {
    gateway.welcome = { rotateMs: 60_000 };
    const { connection, advance } = link();
    const first = await until(() => connection.line);
    await advance(60_000);
    await until(() => connection.line !== first && connection.line);
    expect(ofKind(gateway.guests[1], 'hello')[0]?.replaces).toBe(true);
    expect(gateway.guests.map(({ open }) => open)).toEqual([true, true]);
    await advance(RETIRE_MS);
    await until(() => !gateway.guests[0]!.open);
    expect(gateway.guests[1]!.open).toBe(true);
  });

  it('ends with "bye" and its reason', async () => {
    const { connection, log } = link();
    await until(() => connection.line);
    gateway.guests[0]!.send({ t: 'bye', error: { code: 'forbidden', message: 'host foo was revoked' } });
    await until(() => log.some((line) => line.includes('host foo was revoked')));
    expect(connection.line).toBeUndefined();
  });

  it('hands on what it does not understand, and stays', async () => {
    const { connection, log } = link();
    await until(() => connection.line);
    gateway.guests[0]!.send({ t: 'cmd', id: 'c9', cmd: { kind: 'dance' }, expires: 1 } as never);
    await until(() => log.some((line) => line.startsWith('unknown') && line.includes('c9')));
    expect(gateway.guests[0]!.open).toBe(true);
  });
});

describe('the spool on the link', () => {
  const result = { ok: true, seq: 1, result: { kind: 'exited', code: 0 } } as const;

  it('tells what happened without a link, oldest first, and forgets what was got', async () => {
    gateway.mood = 'mute-tcp';
    const { spool, pump, advance, log } = link();
    for (const id of ['a', 'b', 'c']) spool.result(id, result);
    pump.more();
    await advance(HANDSHAKE_MS);
    await until(() => log.some((line) => line.includes('no link')) || log.length > 0);
    gateway.mood = 'fine';
    await advance(30_000);
    const guest = await until(() => gateway.guests[0]);
    const sent = await until(() => ofKind(guest, 'res').length === 3 && ofKind(guest, 'res'));
    expect(sent.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    guest.send({ t: 'got', n: sent[1]!.n });
    await until(() => spool.waiting().length === 2);
  });

  it('sends again on the next line what the cut line did not acknowledge', async () => {
    const { connection, spool, pump, advance } = link();
    await until(() => connection.line);
    spool.result('cut', result);
    pump.more();
    await until(() => ofKind(gateway.guests[0], 'res')[0]);
    gateway.guests[0]!.cut();
    await until(() => !connection.line);
    await advance(1_000);
    await until(() => ofKind(gateway.guests[1], 'res')[0]?.id === 'cut');
  });

  it('sends again on the same line what has no answer for long, and takes a double "got"', async () => {
    const { connection, spool, pump, advance } = link();
    await until(() => connection.line);
    const { n } = spool.result('lost', result);
    pump.more();
    await until(() => ofKind(gateway.guests[0], 'res').length === 1);
    await advance(REPEAT_MIN_MS);
    await until(() => ofKind(gateway.guests[0], 'res').length === 2);
    gateway.guests[0]!.send({ t: 'got', n });
    gateway.guests[0]!.send({ t: 'got', n });
    await until(() => spool.waiting().length === 0);
  });

  it('tells a report again until it is acknowledged, unless there is a newer one', async () => {
    const { connection, pump, advance } = link();
    await until(() => connection.line);
    const report = { t: 'report' as const, instances: [], last: true, held: [] };
    pump.report([{ ...report, n: 1, seq: 1 }]);
    pump.report([{ ...report, n: 2, seq: 2 }]);
    await advance(REPEAT_MIN_MS);
    await until(() => ofKind(gateway.guests[0], 'report').length === 3);
    pump.got(2);
    await advance(REPEAT_MIN_MS * 4);
    expect(ofKind(gateway.guests[0], 'report').map(({ n }) => n)).toEqual([1, 2, 2]);
  });

  it('keeps only the newest state of an instance, and one answer a command', () => {
    const { spool } = link();
    const report = { id: crypto.randomUUID(), name: 'c1', project: 'default', epoch: 1, status: 'Running' } as const;
    spool.event(1, report);
    spool.event(2, { ...report, status: 'Stopped' });
    spool.result('x', result);
    spool.result('x', result);
    expect(spool.waiting()).toMatchObject([
      { t: 'event', seq: 2, instance: { status: 'Stopped' } },
      { t: 'res', id: 'x' },
    ]);
  });
});
