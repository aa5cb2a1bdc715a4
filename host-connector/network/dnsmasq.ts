/** The bridge's DHCP and DNS server. It outlives the connector, as containers do. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readIfThere, removeDurably, replaceFile, writeDurably } from '../durable.ts';
import { runOrFail, type Argv, type Run } from '../process.ts';
import { dhcpRange, type Subnet } from './subnet.ts';

const TIMEOUT_MS = 10_000;
const LEASE_TIME = '1h';
const DOMAIN = 'fairlead';
const STOP_STEPS = 50;
const STOP_STEP_MS = 20;

/** Its files. */
export interface DnsmasqFiles {
  readonly pid: string;
  readonly leases: string;
  /** One file an instance: which name belongs to a hardware address. */
  readonly hosts: string;
  /** What it was started with. */
  readonly arguments: string;
}

/** The files of a bridge below the network folder. */
export function dnsmasqFiles(networkDir: string, bridge: string): DnsmasqFiles {
  const at = (name: string): string => join(networkDir, `${bridge}.${name}`);
  return { pid: at('pid'), leases: at('leases'), hosts: at('hosts'), arguments: at('arguments') };
}

/**
 * The call. Names come from our files only: a guest that calls itself like another must not receive its traffic. Pure.
 */
export function dnsmasqArgv(bridge: string, subnet: Subnet, files: DnsmasqFiles): Argv {
  const [first, last] = dhcpRange(subnet);
  return [
    'dnsmasq',
    '--conf-file=/dev/null',
    '--user=root',
    `--pid-file=${files.pid}`,
    '--bind-interfaces',
    '--except-interface=lo',
    `--interface=${bridge}`,
    `--listen-address=${subnet.address}`,
    '--dhcp-authoritative',
    '--dhcp-no-override',
    '--dhcp-rapid-commit',
    '--no-ping',
    '--dhcp-ignore-names',
    `--dhcp-range=${first},${last},${LEASE_TIME}`,
    `--dhcp-leasefile=${files.leases}`,
    `--dhcp-hostsdir=${files.hosts}`,
    `--domain=${DOMAIN}`,
    `--local=/${DOMAIN}/`,
    '--expand-hosts',
    '--no-hosts',
    '--stop-dns-rebind',
    `--rebind-domain-ok=/${DOMAIN}/`,
  ];
}

/** Starts it unless it runs with just these arguments; an older one with others is replaced. @throws FairleadError `host_failed` */
export async function ensureDnsmasq(run: Run, argv: Argv, files: DnsmasqFiles): Promise<void> {
  await mkdir(files.hosts, { recursive: true, mode: 0o755 });
  const wanted = argv.join('\n');
  const pid = await runningPid(files);
  if (pid !== undefined) {
    if ((await readIfThere(files.arguments)) === wanted) return;
    await stopDnsmasq(files);
  }
  await runOrFail(run, argv, { timeoutMs: TIMEOUT_MS });
  await writeDurably(files.arguments, wanted);
}

/** Ends it and waits until it is gone. */
export async function stopDnsmasq(files: DnsmasqFiles): Promise<void> {
  const pid = await runningPid(files);
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  for (let step = 0; step < STOP_STEPS && (await runningPid(files)) !== undefined; step++) await sleep(STOP_STEP_MS);
}

/** Gives an address's owner its name in DNS, before the instance first asks for a lease; each start does so. */
export async function nameHost(files: DnsmasqFiles, hwaddr: string, name: string): Promise<void> {
  await replaceFile(join(files.hosts, fileOf(hwaddr)), `${hwaddr},${name}\n`, 0o644);
}

/** Takes the name back. dnsmasq forgets it when it next starts; until then nobody else gets that hardware address. */
export async function forgetHost(files: DnsmasqFiles, hwaddr: string): Promise<void> {
  await removeDurably(join(files.hosts, fileOf(hwaddr)));
}

function fileOf(hwaddr: string): string {
  return hwaddr.replaceAll(/[^0-9a-f]/gi, '-');
}

/** The process of the pid file, if it is (still) our dnsmasq: after a reboot the number may be anybody's. */
async function runningPid(files: DnsmasqFiles): Promise<number | undefined> {
  const pid = Number(await readIfThere(files.pid));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  try {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return commandLine.includes(`--pid-file=${files.pid}`) ? pid : undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
