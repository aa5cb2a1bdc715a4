/** Runs inside a lab host: what happens with commands in instance 1. */
import { createHash } from 'node:crypto';
import { buffer, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec, open, sh, timed, until } from './lxc.world.ts';

export const EXEC_SCENARIOS = {
  async exec() {
    const pipes = await exec(1, ['sh', '-c', 'echo out; echo err >&2; cat; exit 3'], {}, 'from stdin');
    const codes = {
      killed: (await sh(1, 'kill -9 $$')).code,
      missing: (await exec(1, ['/nonexistent'])).code,
      notExecutable: (await exec(1, ['/tmp/plain'])).code,
      missingIn: (await exec(1, ['nonexistent'], { cwd: '/tmp' })).code,
      noFolder: (await exec(1, ['true'], { cwd: '/nope' })).code,
    };
    const environment = (await sh(1, 'env', { environment: { A: 'b c' } })).stdout.trim().split('\n').sort();
    const places = [
      await sh(1, 'pwd'),
      await sh(1, 'pwd', { cwd: '/tmp' }),
      await sh(1, 'id -u; id -g', { user: 1000, group: 1000 }),
    ];
    return { pipes, codes, environment, places: places.map(({ stdout }) => stdout.trim()) };
  },
  async bulk() {
    const bytes = Buffer.alloc(10 * 2 ** 20);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
    const session = await open(1, ['cat']);
    const { ms, value } = await timed(async () => {
      session.stdin.end(bytes);
      return buffer(session.stdout);
    });
    const hash = (data: Buffer) => createHash('sha256').update(data).digest('hex');
    return { ms, same: hash(value) === hash(bytes), code: await session.exited };
  },
  /** Nobody reads for a while: the command must wait rather than fill our memory. */
  async pressure() {
    const session = await open(1, ['sh', '-c', 'yes | head -c 50000000 | tee /dev/null; echo -n end']);
    await sleep(500);
    const before = process.memoryUsage();
    await sleep(1000);
    const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    const buffered = session.stdout.readableLength;
    let total = 0;
    let last = '';
    for await (const chunk of session.stdout as AsyncIterable<Buffer>) {
      total += chunk.length;
      last = chunk.subarray(-3).toString();
    }
    return { grown, buffered, total, last, code: await session.exited };
  },
  async signals() {
    const session = await open(1, ['sleep', '100']);
    const { ms } = await timed(async () => session.signal(15));
    const trapped = await open(1, [
      'sh',
      '-c',
      'trap "echo got; exit 5" USR1; echo ready; while :; do sleep 0.05; done',
    ]);
    await new Promise((resolve) => trapped.stdout.once('readable', resolve));
    const sent = await trapped.signal(10);
    const output = await text(trapped.stdout);
    const killed = await open(1, ['sleep', '100']);
    killed.kill();
    return {
      ms,
      term: await session.exited,
      sent,
      output,
      trapped: await trapped.exited,
      killed: await killed.exited,
      late: await session.signal(15),
      left: (await sh(1, 'pgrep -x sleep')).stdout,
    };
  },
  /** A command leaves a child with the pipes: the session ends all the same. */
  async leftover() {
    const { ms, value } = await timed(() => sh(1, 'sleep 3 & echo done'));
    return { ms, ...value };
  },
  async terminal() {
    const session = await open(1, ['sh'], { interactive: true, width: 100, height: 30 });
    let seen = '';
    session.stdout.on('data', (data: Buffer) => (seen += data.toString()));
    const waitFor = (what: RegExp) =>
      until(() => Promise.resolve(what.exec(seen)?.[0])).catch((cause: unknown) => {
        throw new Error(`${String(what)} not seen in ${JSON.stringify(seen)}`, { cause });
      });
    session.stdin.write('stty size; echo $TERM $HOME\n');
    await waitFor(/30 100[\s\S]*xterm \/root/);
    session.resize(132, 50);
    await sleep(100);
    session.stdin.write('stty size\n');
    await waitFor(/50 132/);
    session.stdin.write('trap "echo INTERRUPTED" INT; sleep 20\n');
    await sleep(300);
    session.stdin.write('\u0003');
    await waitFor(/\^CINTERRUPTED/);
    session.stdin.write('exit 7\n');
    return { code: await session.exited };
  },
  /** The reader pauses while the command ends: not a byte may be lost, whichever buffer between the two held it then. */
  async terminalTail() {
    const lost: string[] = [];
    for (let size = 68; size <= 96; size += 4) {
      const command = ['sh', '-c', `stty -opost; head -c ${size}k /dev/zero | tr '\\0' x`];
      const session = await open(1, command, { interactive: true, width: 80, height: 24 });
      let received = 0;
      for await (const chunk of session.stdout as AsyncIterable<Buffer>) {
        if (received === 0) await sleep(450);
        received += chunk.length;
      }
      await session.exited;
      if (received !== size * 1024) lost.push(`${size * 1024 - received} of ${size} KiB`);
    }
    return { lost };
  },
};
