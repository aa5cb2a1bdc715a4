import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listLabs } from '../lab/claim.ts';
import type { LabHost } from '../lab/host.ts';
import { ensureImage } from '../lab/images.ts';
import { Lab } from '../lab/lab.ts';
import { run } from '../lab/run.ts';

const PORT = 8443;
const LABS = '/var/lib/fairlead-lab';
const CRASHED = `crash-${process.pid}`;
const isRoot = process.getuid?.() === 0;
const suite = isRoot ? describe : describe.skip;
const needsRoot = isRoot ? '' : ' (skipped: making namespaces needs root)';

/** Everything of the machine that some lab could leave behind, as `fl<id>...` or a path with the lab's number. */
async function traces(): Promise<string[]> {
  const lines = async (...argv: string[]) => (await run(argv)).stdout.split('\n');
  const mounts = (await lines('cat', '/proc/self/mounts')).filter((line) => /fairlead-lab\/|netns\/fl\d/.test(line));
  const namespaces = (await lines('ip', 'netns', 'list')).filter((line) => /^fl\d/.test(line));
  const links = (await readdir('/sys/class/net')).filter((name) => /^fl\d/.test(name));
  const cgroups = await lines('find', '/sys/fs/cgroup', '-type', 'd', '-name', 'fl[0-9]*-h*');
  const loops = (await lines('losetup', '-a')).filter((line) => line.includes('fairlead-lab'));
  const folders = (await readdir(LABS)).map((name) => join(LABS, name));
  return [...mounts, ...namespaces, ...links, ...cgroups, ...loops, ...folders].filter(Boolean);
}

/** The traces that belong to no other process's lab, once the kernel has had a moment to let go. Other labs may run. */
async function leftExcept(...mine: Lab[]): Promise<string[]> {
  let left: string[] = [];
  for (let round = 0; round < 60; round++) {
    const all = await traces();
    const others = (await listLabs()).filter((lab) => lab.owner?.pid !== process.pid && lab.name !== CRASHED);
    const fine = [...others, ...mine].map(({ id }) => new RegExp(`\\bfl${id}\\b|fairlead-lab/${id}\\b`));
    left = all.filter((trace) => !fine.some((known) => known.test(trace)) && !/\.(new|gone)-/.test(trace));
    if (left.length === 0) break;
    await sleep(50);
  }
  return left;
}

async function listen(lab: Lab): Promise<Server> {
  const server = createServer((_, response) => response.end('x'.repeat(256 * 1024)));
  server.listen(PORT, lab.address);
  await once(server, 'listening');
  return server;
}

function fetchControl(host: LabHost, seconds = 2) {
  const argv = [
    'curl',
    '-s',
    '-o',
    '/dev/null',
    '-m',
    String(seconds),
    '-w',
    '%{size_download}',
    `http://fairlead.lab:${PORT}/`,
  ];
  return host.exec(argv);
}

suite(`the lab of virtual hosts${needsRoot}`, () => {
  let lab: Lab;
  let server: Server;

  beforeAll(async () => {
    lab = await Lab.up({ name: 'lab-test', hosts: 2, disk: '32M' });
    server = await listen(lab);
  });

  afterAll(async () => {
    server?.close();
    await lab?.down();
  });

  it('gives each host a name, Node 24, LXC and a CRIU that knows this kernel', async () => {
    const said = await lab
      .host(2)
      .must(['sh', '-c', 'hostname; node -v; lxc-start --version; criu --version; criu check']);
    expect(said).toMatch(/^host2\nv24\.\d+\.\d+\n\d+\.\d+\.\d+\nVersion: 4\.[2-9]/);
  });

  it('lets hosts reach the control plane, and counts that', async () => {
    const had = (await lab.packets()).toControl;
    for (const host of lab.hosts) expect((await fetchControl(host)).stdout).toBe(String(256 * 1024));
    const has = (await lab.packets()).toControl;
    expect(has.map((count, at) => count > had[at]!)).toEqual([true, true]);
    expect(await lab.packets()).toMatchObject({ sentToPeers: 0, receivedFromPeers: 0, inbound: 0 });
  });

  it('lets no host reach another, and counts the attempt, so that the proof can fail', async () => {
    const peer = lab.address.replace(/254$/, '12');
    const ping = await lab.host(1).exec(['busybox', 'ping', '-c', '2', '-W', '1', peer]);
    expect(ping.code).not.toBe(0);
    expect(await lab.packets()).toMatchObject({ sentToPeers: 2, receivedFromPeers: 2 });

    // Around the back: a router that is told to hand the packet to a LAN behind its peer.
    await run(['ip', '-n', `fl${lab.id}-r1`, 'route', 'add', '192.168.7.0/24', 'via', peer]);
    await lab.host(1).exec(['busybox', 'ping', '-c', '1', '-W', '1', '192.168.7.10']);
    expect(await lab.packets()).toMatchObject({ sentToPeers: 3, receivedFromPeers: 3 });
  });

  it('refuses new connections from the wan, and counts them', async () => {
    const had = (await lab.packets()).inbound;
    const router = lab.address.replace(/254$/, '11');
    const outcome = await run(['curl', '-s', '-m', '1', `http://${router}:${PORT}/`]);
    expect(outcome.code).toBe(28);
    // Somebody on the wan who knows the LAN behind the router.
    const wan = ['nsenter', `--net=/run/netns/fl${lab.id}-cloud`];
    await run([...wan, 'ip', 'route', 'add', '192.168.1.10/32', 'via', router]);
    expect((await run([...wan, 'curl', '-s', '-m', '1', `http://192.168.1.10:${PORT}/`])).code).toBe(28);
    expect((await lab.packets()).inbound).toBeGreaterThanOrEqual(had + 2);
  });

  it('passes stdin, both outputs, environment and exit status through exec', async () => {
    const outcome = await lab.host(1).exec(['sh', '-c', 'cat; echo $COLOUR; echo err >&2; exit 7'], {
      stdin: 'in ',
      env: { COLOUR: 'blue' },
    });
    expect(outcome).toEqual({ code: 7, stdout: 'in blue\n', stderr: 'err\n' });
    const late = lab.host(1).exec(['sleep', '60'], { timeoutMs: 200 });
    await expect(late).rejects.toMatchObject({ code: 'timed_out' });
  });

  it('does not wait for a daemon that keeps the outputs', async () => {
    const started = performance.now();
    await lab.host(1).must(['sh', '-c', 'sleep 5 & echo started']);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('hands signals on to a spawned command, and kills it with its child', async () => {
    const polite = lab.host(1).spawn(['sh', '-c', 'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done']);
    await once(polite.stdout!, 'data');
    polite.kill('SIGTERM');
    expect(await once(polite, 'exit')).toEqual([9, null]);

    const stubborn = lab.host(1).spawn(['sh', '-c', 'echo ready; exec sleep 4711']);
    await once(stubborn.stdout!, 'data');
    stubborn.kill('SIGKILL');
    await once(stubborn, 'exit');
    expect((await lab.host(1).exec(['pgrep', '-fx', 'sleep 4711'])).stdout).toBe('');
  });

  it('makes trouble on a link and takes it back', async () => {
    const [host, link] = [lab.host(1), lab.link(1)];
    const [refused, silence, resetByPeer] = [7, 28, 56];
    await link.cut();
    expect((await fetchControl(host, 1)).code).toBe(silence);
    await link.up();
    expect((await fetchControl(host)).code).toBe(0);
    await link.drop();
    expect((await fetchControl(host, 1)).code).toBe(silence);
    await link.reset();
    expect([refused, resetByPeer]).toContain((await fetchControl(host)).code);
    expect((await fetchControl(lab.host(2))).code).toBe(0);
    await link.up();

    await link.rate(1);
    const started = performance.now();
    expect((await fetchControl(host, 10)).code).toBe(0);
    // 256 KiB at 1 Mbit/s, less the burst.
    expect(performance.now() - started).toBeGreaterThan(1000);
    await link.up();
    expect((await fetchControl(host)).code).toBe(0);
  });

  it('reboots a host: processes end, the disk stays', async () => {
    const host = lab.host(2);
    host.spawn(['sleep', '4712'], { stdio: 'ignore' });
    await host.must([
      'sh',
      '-c',
      'echo kept | tee /var/lib/fairlead/a /var/lib/lxc/b /etc/c; echo gone > /run/d; sync',
    ]);
    await host.reboot();
    expect(await host.must(['sh', '-c', 'cat /var/lib/fairlead/a /var/lib/lxc/b /etc/c'])).toBe('kept\n'.repeat(3));
    expect((await host.exec(['sh', '-c', 'cat /run/d; pgrep -fx "sleep 4712"'])).stdout).toBe('');
    expect((await fetchControl(host)).code).toBe(0);
  });

  it('fills a small disk and frees it', async () => {
    const host = lab.host(1);
    await host.fillDisk();
    const write = ['sh', '-c', 'head -c 5000 /dev/zero > /var/lib/fairlead/more'];
    expect((await host.exec(write)).stderr).toContain('No space left on device');
    await host.freeDisk();
    expect((await host.exec(write)).code).toBe(0);
    expect(existsSync(join(host.stateDir, 'more'))).toBe(true);
  });

  it('leaves nothing behind, also when taken down twice, by a crash, or half way up', async () => {
    const second = await Lab.up({ name: 'lab-test', hosts: 1, disk: '16M' });
    expect(second.address).not.toBe(lab.address);
    await second.host(1).must(['sh', '-c', 'sleep 999 & mkdir -p /sys/fs/cgroup/*/deep/er']);
    await second.down();
    await second.down();
    expect(await leftExcept(lab)).toEqual([]);

    const nowhere = { source: '/nonexistent', target: '/proc/nonexistent/x' };
    await expect(Lab.up({ name: 'half', hosts: 2, binds: [nowhere] })).rejects.toThrow('did not start');
    expect(await leftExcept(lab)).toEqual([]);

    const script = `import { Lab } from ${JSON.stringify(fileURLToPath(new URL('../lab/lab.ts', import.meta.url)))};
      await Lab.up({ name: '${CRASHED}', hosts: 1 }); process.kill(process.pid, 'SIGKILL');`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
    expect(await once(owner, 'exit')).toEqual([null, 'SIGKILL']);
    await Lab.sweep();
    expect(await leftExcept(lab)).toEqual([]);
    expect((await fetchControl(lab.host(1))).code).toBe(0);
  });

  it('runs an unprivileged container that gets its name, an address, and stops cleanly', async () => {
    const image = await ensureImage('busybox');
    const host = lab.host(2);
    await bridge(host);
    await unpack(host, image.path, 'foo');
    await host.must(['lxc-start', '-n', 'foo', '-L', '/run/foo.console']);
    expect(await host.must(['lxc-attach', '-n', 'foo', '--', 'hostname'])).toBe('foo\n');
    expect(await host.must(['lxc-attach', '-n', 'foo', '--', 'cat', '/proc/self/uid_map'])).toMatch(
      /0\s+1000000\s+65536/,
    );
    await expect
      .poll(async () => (await host.exec(['lxc-info', '-n', 'foo', '-iH'])).stdout)
      .toMatch(/^10\.0\.3\.\d+$/m);

    const started = performance.now();
    await host.must(['lxc-stop', '-n', 'foo', '-t', '10']);
    expect(performance.now() - started).toBeLessThan(1000);
    expect(await host.must(['cat', '/run/foo.console'])).toContain('foo: busybox is up');
  });

  it('leaves nothing at the end', async () => {
    server.closeAllConnections();
    await lab.down();
    expect(await leftExcept()).toEqual([]);
  });
});

async function bridge(host: LabHost): Promise<void> {
  await host.must(['ip', '-batch', '-'], {
    stdin: 'link add lxcbr0 type bridge\naddr add 10.0.3.1/24 dev lxcbr0\nlink set lxcbr0 up\n',
  });
  const dhcp = [
    '--dhcp-authoritative',
    '--dhcp-range=10.0.3.2,10.0.3.254,1h',
    '--dhcp-leasefile=/run/leases',
    '--no-ping',
  ];
  const where = ['--interface=lxcbr0', '--bind-interfaces', '--except-interface=lo', '--pid-file=/run/dnsmasq.pid'];
  await host.must(['dnsmasq', '--conf-file=/dev/null', '--user=root', ...where, ...dhcp]);
}

async function unpack(host: LabHost, image: string, name: string): Promise<void> {
  const folder = `/var/lib/lxc/${name}`;
  await host.must(
    ['sh', '-ec', `mkdir -p ${folder}; tar -xzf - -C ${folder}; chown -hR 1000000:1000000 ${folder}/rootfs`],
    {
      stdin: await readFile(image),
    },
  );
  const config = `
    lxc.uts.name = ${name}
    lxc.rootfs.path = dir:${folder}/rootfs
    lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
    lxc.autodev = 1
    lxc.idmap = u 0 1000000 65536
    lxc.idmap = g 0 1000000 65536
    lxc.net.0.type = veth
    lxc.net.0.link = lxcbr0
    lxc.net.0.flags = up
    lxc.net.0.name = eth0`;
  await host.must(['sh', '-c', `cat > ${folder}/config`], { stdin: config.replaceAll(/^ +/gm, '') });
}
