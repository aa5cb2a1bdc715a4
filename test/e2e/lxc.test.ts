/** The connector's LXC part on a real host. Each scenario is a process of its own inside the host, as after a restart of the connector. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostFacts, Measurement } from '#shared/link/commands.ts';
import { hostFacts, measurement } from '#shared/link/commands.ts';
import { Lab } from '../lab/lab.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ONE = '0a1b2c3d-0000-4000-8000-000000000001';
const TWO = '0a1b2c3d-0000-4000-8000-000000000002';

let lab: Lab;
let pid = 0;
/** Read off in the order of the tests below, which tell one life. */
const times: Record<string, number> = {};

beforeAll(async () => {
  lab = await Lab.up({ name: 'lxc', hosts: 1, binds: [{ source: ROOT, target: '/fairlead' }] });
});
afterAll(async () => {
  await lab?.down();
  process.stdout.write(`lxc times in ms: ${JSON.stringify(times)}\n`);
});

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

async function scenario<T>(name: string): Promise<T> {
  const argv = ['node', '/fairlead/test/e2e/lxc.driver.ts', name];
  return JSON.parse(await lab.host(1).must(argv, { timeoutMs: 60_000 })) as T;
}

describe('an unprivileged container', () => {
  it('starts and gets an address on the managed bridge', async () => {
    const ready = await scenario<{ subnet: unknown; againMs: number }>('prepare');
    expect(ready.subnet).toEqual({ address: '10.58.0.1', prefix: 24 });
    const started = await scenario<
      Record<'startMs' | 'attachMs' | 'addressMs' | 'pid', number> & Record<string, unknown>
    >('start');
    Object.assign(times, { start: started.startMs, attach: started.attachMs, address: started.addressMs });
    pid = started.pid;
    expect(started).toMatchObject({
      status: 'Running',
      network: { type: 'broadcast', state: 'up', host_name: expect.stringMatching(/^fl[0-9a-f]{8}$/) as string },
    });
    expect(started.addressMs).toBeLessThan(5000);
  });

  it('is confined: ids, capabilities, system calls, /proc', async () => {
    const guest = await scenario<{
      capBnd: string;
      seccomp: string;
      uidMap: number[];
      sysctl: Ran;
      mknod: Ran;
      hostname: string;
    }>('guest');
    expect(guest).toMatchObject({ seccomp: '2', uidMap: [0, 1_000_000, 65_536], hostname: 'c1' });
    const bounding = BigInt(`0x${guest.capBnd}`);
    const [sysModule, sysRawio, sysTime, bpf] = [16n, 17n, 25n, 39n];
    for (const capability of [sysModule, sysRawio, sysTime, bpf]) expect((bounding >> capability) & 1n).toBe(0n);
    expect(guest.sysctl.stderr).toMatch(/Read-only/);
    expect(guest.mknod.code).not.toBe(0);
  });

  it('is still the same one for a new process of ours', async () => {
    expect(await scenario('state')).toMatchObject({ running: [ONE], one: { status: 'Running', pid } });
  });
});

describe('a command inside', () => {
  it('has separate pipes, exit codes, an environment and a folder as in LXD', async () => {
    const ran = await scenario<Record<string, unknown>>('exec');
    expect(ran).toEqual({
      pipes: { code: 3, stdout: 'out\nfrom stdin', stderr: 'err\n' },
      codes: { killed: 137, missing: 127, notExecutable: 126, missingIn: 127, noFolder: 126 },
      environment: [
        'A=b c',
        'GREETING=  "hello" ',
        'HOME=/root',
        'LANG=C.UTF-8',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'PWD=/root',
        'SHLVL=1',
        'USER=root',
        'container=lxc',
      ],
      places: ['/root', '/tmp', '1000\n1000'],
    });
  });
  it('passes 10 MiB through cat byte for byte', async () => {
    const bulk = await scenario<{ ms: number; same: boolean; code: number }>('bulk');
    times['cat 10 MiB'] = bulk.ms;
    expect(bulk).toMatchObject({ same: true, code: 0 });
  });
  it('waits for a slow reader instead of filling our memory', async () => {
    const pressure = await scenario<{ grown: number; buffered: number }>('pressure');
    expect(pressure).toMatchObject({ total: 50_000_003, last: 'end', code: 0 });
    expect(pressure.grown).toBeLessThan(256 * 1024);
    expect(pressure.buffered).toBeLessThan(512 * 1024);
  });
  it('receives signals itself', async () => {
    expect(await scenario('signals')).toMatchObject({
      term: 143,
      sent: true,
      output: 'ready\ngot\n',
      trapped: 5,
      killed: 137,
      late: false,
      left: '',
    });
  });
  it('ends although a child of it keeps the pipes', async () => {
    const leftover = await scenario<Ran & { ms: number }>('leftover');
    expect(leftover).toMatchObject({ code: 0, stdout: 'done\n' });
    expect(leftover.ms).toBeLessThan(2000);
  });
  it('has a terminal that is resized and interrupted', async () => {
    expect(await scenario('terminal')).toEqual({ code: 7 });
  });
  it('loses nothing of a terminal whose reader is slow', async () => {
    expect(await scenario('terminalTail')).toEqual({ lost: [] });
  });
});

describe('limits', () => {
  it('are enforced from the start and changed while it runs', async () => {
    const limits = await scenario<{
      memory: Ran;
      pids: Ran;
      freeMs: number;
      slowedMs: number;
      againMs: number;
      nproc: string;
      larger: number;
      measured: Measurement;
    }>('limits');
    expect(limits.memory.stderr).toMatch(/Killed/);
    expect(limits.pids.stderr).toMatch(/can't fork/);
    expect(limits.nproc).toBe('1');
    expect(limits.larger).toBe(128 * 2 ** 20);
    expect(limits.slowedMs).toBeGreaterThan(2 * limits.freeMs);
    expect(limits.againMs).toBeLessThan(limits.slowedMs / 2);
    expect(measurement.parse(limits.measured)).toMatchObject({ status: 'Running', memory: { total: 64 * 2 ** 20 } });
    expect(limits.measured.memory.usage).toBeGreaterThan(0);
    expect(limits.measured.cpu.usage).toBeGreaterThan(0);
    expect(limits.measured.processes).toBeGreaterThan(0);
  });
});

describe('the life of a container', () => {
  it('is frozen and thawed', async () => {
    expect(await scenario('freeze')).toMatchObject({
      frozen: { status: 'Frozen', pid },
      thawed: { status: 'Running', pid },
    });
  });
  it('finds another by its name, with ids of the host that are disjoint', async () => {
    const names = await scenario<{ lookup: string; ping: Ran; uidMap: number[] }>('names');
    expect(names.lookup).toMatch(/c2\.fairlead/);
    expect(names.ping.code).toBe(0);
    expect(names.uidMap).toEqual([0, 1_065_536, 65_536]);
  });
  it('leaves a console log', async () => {
    const { text } = await scenario<{ text: string }>('console');
    expect(text).toMatch(/hello from init/);
  });
  it('ends when asked, at once when forced, and tells each step', async () => {
    const { running } = await scenario<{ running: string[] }>('state');
    expect(running).toEqual([ONE, TWO]);
    const stop = await scenario<{
      cleanMs: number;
      forcedMs: number;
      restartMs: number;
      events: { id: string; state?: string }[];
    }>('stop');
    Object.assign(times, { 'clean stop': stop.cleanMs, 'forced stop': stop.forcedMs, restart: stop.restartMs });
    // Busybox's init itself waits one second after TERM and one after KILL.
    expect(stop.cleanMs).toBeLessThan(3000);
    expect(stop.forcedMs).toBeLessThan(1000);
    const told = (id: string) => stop.events.flatMap((event) => (event.id === id && event.state ? [event.state] : []));
    const cycle = ['STARTING', 'RUNNING', 'STOPPING', 'STOPPED'];
    expect(told(ONE)).toEqual(['STOPPING', 'STOPPED', ...cycle, 'STARTING', 'RUNNING']);
    expect(told(TWO)).toEqual(['STOPPING', 'STOPPED']);
    expect(stop).toMatchObject({
      status: { status: 'Stopped', pid: 0 },
      measured: { status: 'Stopped', processes: 0 },
    });
  });
  it('goes on when its init does not want to stop, until forced', async () => {
    const stubborn = await scenario<{ message: string; still: string; after: string }>('stubborn');
    expect(stubborn).toMatchObject({ still: 'Running', after: 'Stopped' });
    expect(stubborn.message).toMatch(/within 1 seconds and still runs.*--force/);
  });
  it('does not begin without an init or a network, and says so', async () => {
    const broken = await scenario<{ noInit: string; noBridge: string; running: string[] }>('broken');
    expect(broken.noInit).toMatch(/Failed to exec "\/sbin\/init"/);
    expect(broken.noBridge).toMatch(/bridge interface doesn't exist/);
    expect(broken.running).toEqual([]);
  });
});

describe('the host', () => {
  it('knows what it is', async () => {
    const facts = hostFacts.parse(await scenario<HostFacts>('facts'));
    expect(facts).toMatchObject({ hostname: 'host1', lxc: '6.0.4', criu: { ok: true }, policy: { hash: '' } });
  });
  it('is left as it was', async () => {
    const left = await scenario<{ link: number; rules: string; dnsmasq: string }>('leave');
    expect(left).toMatchObject({ link: 1, dnsmasq: '' });
    expect(left.rules).not.toMatch(/fairlead|MASQUERADE/);
  });
});
