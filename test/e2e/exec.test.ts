import { createHash, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

import type { IPty, spawn } from '@lydell/node-pty';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Fleet, until } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';
import { MODE } from '../lab/mode.ts';

const pty = createRequire(import.meta.url)('@lydell/node-pty') as { spawn: typeof spawn };
/** Less where each frame is late, lost or has a module graph loaded for it alone. */
const MEGABYTES = { plain: 10, chaos: 4, fresh: 1 }[MODE];
let fleet: Fleet;

beforeAll(async () => {
  fleet = await Fleet.up({ name: 'exec', hosts: ['foo'] });
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', 'bb');
  await fleet.must('launch', 'bb', 'foo:c1');
});

afterAll(() => fleet[Symbol.asyncDispose]());

/** What a person at a terminal would see: the CLI on a real terminal. */
function terminal(args: readonly string[], size = { cols: 90, rows: 25 }) {
  const [program = '', ...rest] = fleet.command(['exec', 'foo:c1', ...args]);
  const child: IPty = pty.spawn(program, rest, { name: 'xterm', ...size, env: { ...process.env, TERM: 'xterm' } });
  let screen = '';
  child.onData((data) => (screen += data));
  const exited = new Promise<number>((resolve) => child.onExit(({ exitCode }) => resolve(exitCode)));
  const shows = (text: RegExp) => until(`the terminal to show ${text.source}`, async () => text.test(screen));
  return { child, exited, shows };
}

describe('exec through pipes', () => {
  it('keeps stdout, stderr and the exit code apart', async () => {
    const { code, stdout, stderr } = await fleet.fairlead([
      'exec',
      'foo:c1',
      '--',
      'sh',
      '-c',
      'echo out; echo err >&2; exit 3',
    ]);
    expect({ code, stdout, stderr }).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
  });

  it(`carries ${MEGABYTES} MB through cat byte for byte`, async () => {
    const bytes = randomBytes(MEGABYTES * 1024 * 1024);
    const script = 'cat > /tmp/in && sha256sum < /tmp/in && wc -c < /tmp/in';
    const { stdout } = await fleet.fairlead(['exec', 'foo:c1', '--', 'sh', '-c', script], { stdin: bytes });
    expect(stdout).toContain(createHash('sha256').update(bytes).digest('hex'));
    expect(stdout).toContain(String(bytes.length));
    const back = await fleet.fairlead(['exec', 'foo:c1', '--', 'cat'], { stdin: bytes.toString('base64') });
    expect(back.stdout).toBe(bytes.toString('base64'));
  });

  it('tells a command that is not there from one that cannot run', async () => {
    expect((await fleet.fairlead(['exec', 'foo:c1', '--', '/nonexistent'])).code).toBe(127);
    expect((await fleet.fairlead(['exec', 'foo:c1', '--', '/etc/passwd'])).code).toBe(126);
  });

  it('answers 128 + n for a command that a signal ended', async () => {
    expect((await fleet.fairlead(['exec', 'foo:c1', '--', 'sh', '-c', 'kill -9 $$'])).code).toBe(137);
  });

  it('passes environment, user, group and folder', async () => {
    const args = [
      'exec',
      'foo:c1',
      '--env',
      'GREETING=hello',
      '--user',
      '1000',
      '--group',
      '1000',
      '--cwd',
      '/tmp',
      '--',
    ];
    const { stdout } = await fleet.fairlead([...args, 'sh', '-c', 'echo $GREETING $(id -u) $(id -g) $PWD']);
    expect(stdout).toBe('hello 1000 1000 /tmp\n');
  });

  it('runs 20 at once', async () => {
    const runs = Array.from({ length: 20 }, (_, n) => fleet.fairlead(['exec', 'foo:c1', '--', 'echo', String(n)]));
    expect((await Promise.all(runs)).map(({ stdout }) => stdout.trim())).toEqual(
      Array.from({ length: 20 }, (_, n) => String(n)),
    );
  });
});

describe('exec on a terminal', () => {
  it('is one of the size of mine, follows its resizing, and ends with the exit code', async () => {
    const { child, exited, shows } = terminal(['--', 'sh']);
    await shows(/[#$] /);
    child.write('stty size\r');
    await shows(/25 90/);
    child.resize(132, 50);
    child.write('sleep 0.3; stty size\r');
    await shows(/50 132/);
    child.write('exit 7\r');
    expect(await exited).toBe(7);
  });

  it('gives Ctrl-C to the command, not to the client', async () => {
    const { child, exited, shows } = terminal([
      '--',
      'sh',
      '-c',
      'trap "echo interrupted; exit 5" INT; echo waiting; while :; do sleep 0.1; done',
    ]);
    await shows(/waiting/);
    child.write('\u0003');
    await shows(/interrupted/);
    expect(await exited).toBe(5);
  });
});
