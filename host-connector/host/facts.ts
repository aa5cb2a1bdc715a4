/** What this host is: reported on connect, and again when asked. */
import { readFile, statfs } from 'node:fs/promises';
import { cpus, hostname, release, totalmem } from 'node:os';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { HostFacts } from '#shared/link/commands.ts';
import { readIfThere } from '../durable.ts';
import { parseCgroups, type Cgroups } from '../lxc/cgroup.ts';
import type { LimitHost } from '../lxc/limits.ts';
import type { Run } from '../process.ts';
import { allowedBy, type LoadedPolicy } from './policy.ts';
import { covers, SUBID_FILES, type IdRange } from './subids.ts';
import { warningsOf } from './warnings.ts';

const TIMEOUT_MS = 10_000;
/** `criu check` tries many things. */
const CHECK_TIMEOUT_MS = 30_000;
const MAX_MESSAGE = 2000;

/** What the rest of the connector knows already. */
export interface FactsInput {
  readonly stateDir: string;
  readonly run: Run;
  readonly storage: readonly string[];
  readonly connectorVersion: string;
  readonly policy: LoadedPolicy;
  readonly idmap: IdRange;
}

/** The kernel's side of a host, which configurations are rendered for. It does not change while the host is up. */
export type KernelHost = LimitHost & { readonly apparmor: boolean; readonly cgroups: Cgroups };

/** Reads mounts, processors, memory and security module. */
export async function readKernelHost(): Promise<KernelHost> {
  const cgroups = parseCgroups(await readFile('/proc/self/mountinfo', 'utf8'));
  const memory = cgroups.controllers.get('memory');
  return {
    cgroups,
    cgroup: cgroups.layout,
    cpus: cpus().length,
    memory: totalmem(),
    swapLimit: memory === undefined || existsSync(join(memory, 'memory.memsw.limit_in_bytes')),
    apparmor: (await readIfThere('/sys/module/apparmor/parameters/enabled'))?.trim() === 'Y',
  };
}

/** Collects the facts; with `criu check` it takes about a tenth of a second. */
export async function collectFacts(input: FactsInput): Promise<HostFacts> {
  const { run } = input;
  const [kernel, disk, osRelease, lxc, criu, missing, clock] = await Promise.all([
    readKernelHost(),
    statfs(input.stateDir),
    readIfThere('/etc/os-release'),
    versionOf(run, 'lxc-start'),
    criuFacts(run),
    missingPrograms(run),
    clockSynchronised(run),
  ]);
  const idRanges = await Promise.all(
    SUBID_FILES.map(async (path) => covers((await readIfThere(path)) ?? '', input.idmap)),
  );
  return {
    hostname: hostname().slice(0, 255),
    os: (/^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease ?? '')?.[1] ?? 'Linux').slice(0, 200),
    kernel: release(),
    architecture: architecture(),
    cpus: kernel.cpus,
    cpuModel: (cpus()[0]?.model ?? '').slice(0, 200),
    memory: kernel.memory,
    disk: { total: disk.blocks * disk.bsize, free: disk.bavail * disk.bsize },
    lxc: lxc ?? '',
    ...(criu && { criu }),
    storage: [...input.storage],
    cgroup: kernel.cgroup,
    lsm: kernel.apparmor ? 'apparmor' : 'none',
    connector: input.connectorVersion,
    policy: { hash: input.policy.hash, allows: allowedBy(input.policy.policy) },
    warnings: warningsOf({
      missing,
      criu,
      apparmor: kernel.apparmor,
      clockSynchronised: clock,
      idRanges: idRanges.every(Boolean),
      swapLimit: kernel.swapLimit,
    }),
  };
}

/** LXD's name of this machine's architecture. */
function architecture(arch: string = process.arch): string {
  const names: Record<string, string> = {
    x64: 'x86_64',
    ia32: 'i686',
    arm64: 'aarch64',
    arm: 'armv7l',
    ppc64: 'ppc64le',
  };
  return names[arch] ?? arch;
}

/** Programs the connector calls; the package in Debian's terms. */
const PROGRAMS: Readonly<Record<string, string>> = {
  'lxc-start': 'lxc',
  newuidmap: 'uidmap',
  dnsmasq: 'dnsmasq-base',
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  criu: 'criu (4.2 or newer)',
};

async function missingPrograms(run: Run): Promise<[program: string, install: string][]> {
  const missing: [string, string][] = [];
  for (const [program, install] of Object.entries(PROGRAMS)) {
    if ((await run(['which', program], { timeoutMs: TIMEOUT_MS })).code !== 0) missing.push([program, install]);
  }
  return missing;
}

async function versionOf(run: Run, program: string): Promise<string | undefined> {
  const { code, stdout } = await tryRun(run, [program, '--version']);
  return code === 0 ? /\d+(\.\d+)+/.exec(stdout)?.[0] : undefined;
}

async function criuFacts(run: Run): Promise<HostFacts['criu']> {
  const version = await versionOf(run, 'criu');
  if (version === undefined) return undefined;
  const { code, stdout, stderr } = await run(['criu', 'check'], { timeoutMs: CHECK_TIMEOUT_MS });
  return { version, ok: code === 0, message: `${stdout}${stderr}`.trim().slice(-MAX_MESSAGE) };
}

/** Undefined where nobody can tell. */
async function clockSynchronised(run: Run): Promise<boolean | undefined> {
  const { code, stdout } = await tryRun(run, ['timedatectl', 'show', '-p', 'NTPSynchronized', '--value']);
  return code === 0 ? stdout.trim() === 'yes' : undefined;
}

/** A program that may not be installed. */
async function tryRun(
  run: Run,
  argv: readonly [string, ...string[]],
): Promise<{ code: number | null; stdout: string }> {
  const there = await run(['which', argv[0]], { timeoutMs: TIMEOUT_MS });
  return there.code === 0 ? run(argv, { timeoutMs: TIMEOUT_MS }) : { code: 127, stdout: '' };
}
