/** Runs inside a lab host: `node lxc.driver.ts SCENARIO` drives the connector's LXC part and prints what it saw as JSON. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { limitsOf } from '#shared/config/limits.ts';
import { collectFacts, readKernelHost } from '../../host-connector/host/facts.ts';
import { loadPolicy } from '../../host-connector/host/policy.ts';
import { ensureSubordinateIds } from '../../host-connector/host/subids.ts';
import { readConsoleLog } from '../../host-connector/lxc/console.ts';
import { limitFiles } from '../../host-connector/lxc/limits.ts';
import { applyLimits } from '../../host-connector/lxc/liveLimits.ts';
import { watchContainers, type LxcEvent } from '../../host-connector/lxc/monitor.ts';
import { nicsOf } from '../../host-connector/lxc/nics.ts';
import { readLeases } from '../../host-connector/network/leases.ts';
import { run, runOrFail } from '../../host-connector/process.ts';
import { EXEC_SCENARIOS } from './lxc.exec.ts';
import { BASE, bridge, create, exec, measured, paths, runtime, sh, SIZE, specOf, timed, until } from './lxc.world.ts';

const SCENARIOS: Record<string, () => Promise<unknown>> = {
  ...EXEC_SCENARIOS,
  async prepare() {
    const subids = await ensureSubordinateIds({ base: BASE, size: 10 * SIZE });
    const subnet = await bridge.ensure();
    const again = await timed(() => bridge.ensure());
    return { subids, subnet, againMs: again.ms };
  },
  async start() {
    const spec = await create(1, {
      'environment.GREETING': '  "hello" ',
      'limits.memory': '64MiB',
      'limits.processes': '30',
    });
    const hwaddr = nicsOf(spec)[0]?.hwaddr ?? '';
    const began = performance.now();
    await runtime.start(spec.id);
    const startMs = Math.round(performance.now() - began);
    const first = await timed(() => exec(1, ['true']));
    const address = await until(async () => (await readLeases(bridge.leasesFile)).get(hwaddr)?.address);
    const addressMs = Math.round(performance.now() - began);
    const network = await until(async () => {
      const eth0 = (await measured(1)).network['eth0'];
      return eth0?.addresses.some((entry) => entry.address === address) ? eth0 : undefined;
    });
    return { startMs, attachMs: first.ms, addressMs, address, network, ...(await runtime.status(spec.id)) };
  },
  async guest() {
    const status = (await sh(1, 'cat /proc/self/status')).stdout;
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1];
    const uidMap = (await sh(1, 'cat /proc/self/uid_map')).stdout.trim().split(/\s+/).map(Number);
    const sysctl = await sh(1, 'echo x > /proc/sys/kernel/hostname');
    const bpf = await sh(1, 'mknod /tmp/node b 8 0');
    return {
      capBnd: field('CapBnd'),
      seccomp: field('Seccomp'),
      uidMap,
      sysctl,
      mknod: bpf,
      hostname: (await sh(1, 'hostname')).stdout.trim(),
    };
  },
  async limits() {
    const memory = await sh(1, 'head -c 100m /dev/zero | tail | wc -c; echo $?');
    const pids = await sh(1, 'for i in $(seq 60); do sleep 1 & done; wait');
    await sleep(1500);
    const spec = specOf(1);
    const kernel = await readKernelHost();
    const { pid } = await runtime.status(spec.id);
    const target = { id: spec.id, pid, cgroups: kernel.cgroups };
    const busy = 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done';
    // The fastest of three: what else the machine does must not look like a limit.
    const fastest = async () => {
      const times: number[] = [];
      while (times.length < 3) times.push((await timed(() => sh(1, busy))).ms);
      return Math.min(...times);
    };
    const free = await fastest();
    const common = { 'limits.memory': '64MiB', 'limits.processes': '30' };
    const listOf = (config: Record<string, string>) => limitFiles(limitsOf(config), kernel, spec.id, false);
    const next = { ...common, 'limits.cpu.allowance': '20ms/100ms', 'limits.memory': '128MiB', 'limits.cpu': '1' };
    await applyLimits(target, listOf(common), listOf(next));
    const slowed = await timed(() => sh(1, busy));
    const nproc = (await sh(1, 'nproc')).stdout.trim();
    const { memory: larger } = await measured(1);
    await applyLimits(target, listOf(next), listOf(common));
    const again = await fastest();
    return {
      memory,
      pids,
      freeMs: free,
      slowedMs: slowed.ms,
      againMs: again,
      nproc,
      larger: larger.total,
      measured: await measured(1),
    };
  },
  async freeze() {
    const { id } = specOf(1);
    await runtime.freeze(id);
    const frozen = await runtime.status(id);
    await runtime.unfreeze(id);
    return { frozen, thawed: await runtime.status(id) };
  },
  async names() {
    await runtime.start((await create(2)).id);
    const lookup = await until(async () => {
      const { stdout } = await sh(1, 'nslookup c2.fairlead 10.58.0.1');
      return /Address[^\n]*10\.58\.0\.(?!1\b)\d+/.test(stdout) ? stdout : undefined;
    });
    const ping = await sh(1, 'ping -c 1 -W 2 c2.fairlead');
    return { lookup, ping, uidMap: (await sh(2, 'cat /proc/self/uid_map')).stdout.trim().split(/\s+/).map(Number) };
  },
  async state() {
    const running = [...(await runtime.running())].sort();
    return { running, one: await runtime.status(specOf(1).id), two: await runtime.status(specOf(2).id) };
  },
  async console() {
    return { text: await readConsoleLog(paths.instance(specOf(1).id).consoleLog) };
  },
  async stop() {
    const events: LxcEvent[] = [];
    const monitor = watchContainers(paths, { event: (event) => events.push(event), restarted: () => {} });
    await sleep(300);
    const clean = await timed(() => runtime.stop(specOf(1).id, { force: false, timeoutSeconds: 30 }));
    const forced = await timed(() => runtime.stop(specOf(2).id, { force: true, timeoutSeconds: 30 }));
    const again = await timed(() => runtime.stop(specOf(2).id, { force: false, timeoutSeconds: 30 }));
    await runtime.start(specOf(1).id);
    const restarted = await timed(() => runtime.restart(specOf(1).id, { force: false, timeoutSeconds: 30 }));
    await sleep(300);
    monitor.close();
    await runtime.stop(specOf(1).id, { force: false, timeoutSeconds: 30 });
    const status = await runtime.status(specOf(1).id);
    return {
      cleanMs: clean.ms,
      forcedMs: forced.ms,
      againMs: again.ms,
      restartMs: restarted.ms,
      events,
      status,
      measured: await measured(1),
    };
  },
  /** An init that does not want to stop. */
  async stubborn() {
    const spec = await create(3);
    await writeFile(
      join(paths.instance(spec.id).rootfs, 'bin/stay'),
      '#!/bin/sh\ntrap "" PWR TERM USR1 USR2\nwhile :; do sleep 1; done\n',
      { mode: 0o755 },
    );
    await runOrFail(run, ['ln', '-sf', '/bin/stay', join(paths.instance(spec.id).rootfs, 'sbin/init')], {
      timeoutMs: 1000,
    });
    await runtime.start(spec.id);
    const message = await runtime.stop(spec.id, { force: false, timeoutSeconds: 1 }).then(
      () => '',
      (error: Error) => error.message,
    );
    const still = await runtime.status(spec.id);
    await runtime.stop(spec.id, { force: true, timeoutSeconds: 1 });
    return { message, still: still.status, after: (await runtime.status(spec.id)).status };
  },
  async broken() {
    const spec = await create(4);
    await runOrFail(run, ['rm', join(paths.instance(spec.id).rootfs, 'sbin/init')], { timeoutMs: 1000 });
    const noInit = await runtime.start(spec.id).catch((error: Error) => error.message);
    const other = await create(5);
    await runOrFail(run, ['ip', 'link', 'set', 'flbr0', 'name', 'away'], { timeoutMs: 1000 });
    const noBridge = await runtime.start(other.id).catch((error: Error) => error.message);
    await runOrFail(run, ['ip', 'link', 'set', 'away', 'name', 'flbr0'], { timeoutMs: 1000 });
    return { noInit, noBridge, running: [...(await runtime.running())] };
  },
  async facts() {
    const policy = await loadPolicy();
    const idmap = { base: BASE, size: 10 * SIZE };
    return collectFacts({ stateDir: paths.stateDir, run, storage: ['dir'], connectorVersion: '0', policy, idmap });
  },
  async leave() {
    await bridge.teardown();
    await bridge.teardown();
    const link = await run(['ip', 'link', 'show', 'flbr0'], { timeoutMs: 5000 });
    const rules = await run(['iptables', '-t', 'nat', '-S'], { timeoutMs: 5000 });
    return {
      link: link.code,
      rules: rules.stdout,
      dnsmasq: (await run(['pgrep', 'dnsmasq'], { timeoutMs: 5000 })).stdout,
    };
  },
};

const scenario = SCENARIOS[process.argv[2] ?? ''];
if (!scenario) throw new Error(`unknown scenario; there are ${Object.keys(SCENARIOS).join(', ')}`);
process.stdout.write(`${JSON.stringify(await scenario())}\n`);
