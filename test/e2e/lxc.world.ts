/** Runs inside a lab host: instances of a small busybox, made with the connector's own parts. */
import { chmod, chown, cp, lchown, lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { limitsOf } from '#shared/config/limits.ts';
import type { InstanceSpec, Measurement } from '#shared/link/commands.ts';
import { readKernelHost } from '../../host-connector/host/facts.ts';
import { hostPaths } from '../../host-connector/host/paths.ts';
import { attach, type AttachRequest, type Session } from '../../host-connector/lxc/attach.ts';
import { measure } from '../../host-connector/lxc/measure.ts';
import { nicsOf } from '../../host-connector/lxc/nics.ts';
import { LxcRuntime } from '../../host-connector/lxc/runtime.ts';
import { writeConfig } from '../../host-connector/lxc/write.ts';
import { ManagedBridge } from '../../host-connector/network/bridge.ts';
import { run, runOrFail } from '../../host-connector/process.ts';

export const paths = hostPaths();
export const runtime = new LxcRuntime(paths, run);
export const bridge = new ManagedBridge(paths, run);
export const BASE = 1_000_000;
export const SIZE = 65_536;

/** A spec by number; ids differ in their last digits only. */
export function specOf(number: number, config: Record<string, string> = {}): InstanceSpec {
  return {
    id: `0a1b2c3d-0000-4000-8000-${String(number).padStart(12, '0')}`,
    name: `c${number}`,
    project: 'default',
    epoch: 1,
    architecture: 'x86_64',
    config,
    devices: { eth0: { type: 'nic', network: 'flbr0', name: 'eth0' } },
  };
}

function baseOf(number: number): number {
  return BASE + (number - 1) * SIZE;
}

export async function create(number: number, config: Record<string, string> = {}): Promise<InstanceSpec> {
  const spec = specOf(number, config);
  const { cgroups: _, ...host } = await readKernelHost();
  const nics = nicsOf(spec);
  await writeConfig(paths, {
    spec,
    limits: limitsOf(config),
    idmap: { base: baseOf(number), size: SIZE },
    host,
    nics,
    mounts: [],
    devices: [],
  });
  await busyboxRoot(paths.instance(spec.id).rootfs, baseOf(number));
  for (const nic of nics) await bridge.nameHost(nic.hwaddr, spec.name);
  return spec;
}

const INITTAB = `::sysinit:/bin/echo hello from init
::respawn:/bin/udhcpc -f -i eth0 -s /bin/dhcp -t 20 -T 1 -A 2
::ctrlaltdel:/bin/poweroff
`;
const DHCP = `#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface; ip link set $interface up;;
renew|bound) ip addr flush dev $interface; ip addr add $ip/\${mask:-24} dev $interface
  [ -n "$router" ] && ip route add default via $router
  : > /etc/resolv.conf; echo search $domain >> /etc/resolv.conf; for d in $dns; do echo nameserver $d >> /etc/resolv.conf; done;;
esac
`;

/** Two megabytes of busybox, owned by the container's root. */
async function busyboxRoot(root: string, owner: number): Promise<void> {
  for (const folder of ['bin', 'sbin', 'dev', 'proc', 'sys', 'etc', 'root', 'tmp', 'run', 'var']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await cp('/usr/bin/busybox', join(root, 'bin/busybox'));
  const names = await runOrFail(run, ['busybox', '--list'], { timeoutMs: 5000 });
  for (const name of names.split('\n').filter((name) => name !== '' && name !== 'busybox')) {
    await symlink('/bin/busybox', join(root, 'bin', name));
  }
  await symlink('/bin/busybox', join(root, 'sbin/init'));
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n');
  await writeFile(join(root, 'etc/inittab'), INITTAB);
  await writeFile(join(root, 'bin/dhcp'), DHCP, { mode: 0o755 });
  await writeFile(join(root, 'tmp/plain'), 'not a program\n');
  await give(root, owner);
  await chmod(root, 0o755);
}

async function give(path: string, owner: number): Promise<void> {
  if ((await lstat(path)).isDirectory()) {
    for (const name of await readdir(path)) await give(join(path, name), owner);
    await chown(path, owner, owner);
  } else await lchown(path, owner, owner);
}

export const REQUEST: AttachRequest = {
  command: [],
  environment: {},
  cwd: '',
  user: 0,
  group: 0,
  interactive: false,
  width: 0,
  height: 0,
};

export function open(number: number, command: string[], change: Partial<AttachRequest> = {}): Promise<Session> {
  return attach(paths, specOf(number).id, { ...REQUEST, command, ...change });
}

/** Runs a command to its end. */
export async function exec(number: number, command: string[], change: Partial<AttachRequest> = {}, input = '') {
  const session = await open(number, command, change);
  session.stdin.end(input);
  const [code, stdout, stderr] = await Promise.all([
    session.exited,
    text(session.stdout),
    session.stderr ? text(session.stderr) : '',
  ]);
  return { code, stdout, stderr };
}

export const sh = (number: number, script: string, change: Partial<AttachRequest> = {}) =>
  exec(number, ['sh', '-c', script], change);

export async function until<T>(look: () => Promise<T | undefined>, timeoutMs = 10_000): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms`);
    await sleep(5);
  }
}

export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now();
  const value = await work();
  return { ms: Math.round(performance.now() - began), value };
}

export const measured = async (number: number): Promise<Measurement> => {
  const spec = specOf(number);
  const kernel = await readKernelHost();
  return measure({
    id: spec.id,
    live: await runtime.status(spec.id),
    cgroups: kernel.cgroups,
    hostMemory: kernel.memory,
    hostNames: Object.fromEntries(nicsOf(spec).map((nic) => [nic.name, nic.hostName])),
    disk: { root: { usage: 1, total: 2 } },
    run,
  });
};
