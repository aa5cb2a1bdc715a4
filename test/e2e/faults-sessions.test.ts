import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { STREAM_GRACE_MS, STREAM_KEEPALIVE_MS } from '#shared/link/limits.ts';
import { Detour } from '../lab/detour.ts';
import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';

const HOSTS = ['foo', 'bar', 'baz', 'qux'];
let fleet: Fleet;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'sessions', hosts: HOSTS });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
  await Promise.all(HOSTS.map((host) => fleet.must('launch', 'bb', `${host}:c`)));
});

afterAll(() => fleet[Symbol.asyncDispose]());

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds since {@link begin}. */
  readonly after: number;
}

/** A shell in a host's container that goes on while the test does other things. */
function begin(host: string, script: string, dataDir = fleet.dataDir) {
  const [program = '', ...args] = fleet.command(['exec', `${host}:c`, '--', 'sh', '-c', script]);
  const child = spawn(
    program,
    args.map((arg) => (arg === fleet.dataDir ? dataDir : arg)),
  );
  const began = performance.now();
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
  const ended = once(child, 'close').then(([code]: (number | null)[]): Ended => ({
    code: code ?? null,
    stdout,
    stderr,
    after: performance.now() - began,
  }));
  const says = (text: string) => until(`the command to say "${text}"`, async () => stdout.includes(text));
  return { child, ended, says, stdout: () => stdout };
}

/** Says its pid, then line after line; `seconds` of them when it is let. */
const counting = (seconds: number) =>
  `echo pid $$; i=0; while [ $i -lt ${seconds * 10} ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exit 7`;
const counted = (seconds: number) => Array.from({ length: seconds * 10 }, (_, n) => `line ${n}\n`).join('');
const withoutPid = (stdout: string) => stdout.replace(/^pid \d+\n/, '');
const pidIn = (stdout: string) => Number(/^pid (\d+)/.exec(stdout)?.[1]);

async function alive(host: string, pid: number): Promise<boolean> {
  return (await fleet.fairlead(['exec', `${host}:c`, '--', 'kill', '-0', String(pid)])).code === 0;
}

describe.concurrent('a session', () => {
  // After a silence TCP tries again at growing intervals: after 25 s, then after 51 s, when our own patience ends as well.
  it.each([
    ['foo', 'reset', 30],
    ['bar', 'drop', 24],
  ] as const)('survives that the link of its host %s is broken (%s) for %i s', async (host, trouble, seconds) => {
    const session = begin(host, counting(35));
    await session.says('line 5');
    await fleet.link(host)[trouble]();
    await sleep(seconds * 1000);
    expect(session.stdout()).not.toContain('line 100\n');
    await fleet.link(host).up();
    const { code, stdout, stderr, after } = await session.ended;
    expect({ code, stderr }).toEqual({ code: 7, stderr: '' });
    expect(withoutPid(stdout)).toBe(counted(35));
    expect(after).toBeLessThan(55_000);
  });

  it('whose host is away for longer ends with the reason, and its command is hung up', async () => {
    const session = begin('baz', counting(100));
    await session.says('line 5');
    await fleet.link('baz').reset();
    // Whoever types learns at once that nobody is there.
    const typing = setInterval(() => session.child.stdin.write('x'), 1000);
    const { code, stdout, stderr, after } = await session.ended;
    clearInterval(typing);
    expect(after).toBeLessThan(STREAM_GRACE_MS + 15_000);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/The session ended early: the connection was gone for 40 s/),
    });
    expect(counted(100).startsWith(withoutPid(stdout))).toBe(true);
    await sleep(3_000);
    await fleet.link('baz').up();
    await fleet.connected('baz');
    expect(await alive('baz', pidIn(stdout))).toBe(false);
    expect(await fleet.must('operation', 'list', '--format', 'json')).toMatch(
      /The command was hung up: the connection was gone for 40 s/,
    );
  });

  it('whose command ended while the client was away gives it all its output and the exit code', async () => {
    await using detour = await Detour.open(await fleet.client());
    const session = begin('qux', counting(3), detour.dataDir);
    await session.says('line 5');
    detour.cut();
    await sleep(8_000);
    detour.up();
    const { code, stdout, stderr, after } = await session.ended;
    expect({ code, stderr }).toEqual({ code: 7, stderr: '' });
    expect(withoutPid(stdout)).toBe(counted(3));
    expect(after).toBeLessThan(20_000);
  });

  it('whose client is away for longer ends at both ends', async () => {
    await using detour = await Detour.open(await fleet.client());
    const session = begin('qux', counting(100), detour.dataDir);
    await session.says('line 5');
    detour.cut();
    const { code, stdout, stderr, after } = await session.ended;
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/the connection was gone for 40 s/),
    });
    expect(after).toBeLessThan(STREAM_GRACE_MS + 15_000);
    await until('the command to be gone', async () => !(await alive('qux', pidIn(stdout))), 20_000);
  });

  it('with nothing to say ends when its client was killed', async () => {
    const session = begin('qux', 'echo pid $$; sleep 1000');
    await session.says('pid ');
    session.child.kill('SIGKILL');
    await until(
      'the command to be gone',
      async () => !(await alive('qux', pidIn(session.stdout()))),
      STREAM_KEEPALIVE_MS + STREAM_GRACE_MS + 15_000,
    );
  });
});

it('a running exec does not lose a byte while its host rotates and the gateway cuts what is old', async () => {
  await fleet.stopControl();
  await fleet.startControl('--rotate', '1500', '--age', '5000');
  await fleet.connected('foo');
  const session = begin('foo', 'cat; exit 3');
  const received = createHash('sha256');
  session.child.stdout.on('data', (part: Buffer) => received.update(part));
  const sent = createHash('sha256');
  const linkedSince = new Set<number>();
  for (let piece = 0; piece < 120; piece += 1) {
    const bytes = randomBytes(32 * 1024);
    sent.update(bytes);
    if (!session.child.stdin.write(bytes)) await once(session.child.stdin, 'drain');
    await sleep(100);
    const status = JSON.parse(await readFile(join(fleet.host('foo').stateDir, 'status.json'), 'utf8')) as {
      linkedSince?: number;
    };
    linkedSince.add(status.linkedSince ?? 0);
  }
  session.child.stdin.end();
  const { code, stderr } = await session.ended;
  expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
  expect(received.digest('hex')).toBe(sent.digest('hex'));
  expect(linkedSince.size).toBeGreaterThan(5);
});
