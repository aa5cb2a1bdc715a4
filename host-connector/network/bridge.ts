/** The managed bridge: a network for the host's instances with DHCP, names, and a way out. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { FairleadError } from '#shared/errors.ts';
import { MANAGED_BRIDGE } from '#shared/config/defaults.ts';
import type { HostPaths } from '../host/paths.ts';
import { readIfThere, removeDurably, writeDurably } from '../durable.ts';
import { runOrFail, type Run } from '../process.ts';
import {
  dnsmasqArgv,
  dnsmasqFiles,
  ensureDnsmasq,
  forgetHost,
  nameHost,
  stopDnsmasq,
  type DnsmasqFiles,
} from './dnsmasq.ts';
import { ensureMasquerade, removeMasquerade } from './masquerade.ts';
import { networkOf, parseSubnet, pickSubnet, type Subnet } from './subnet.ts';

const TIMEOUT_MS = 10_000;
const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

const routes = z.array(z.object({ dst: z.string() }));

/** One managed bridge. Everything can be done again and again; nothing is remembered but the chosen network, in a file. */
export class ManagedBridge {
  readonly name: string;
  readonly #run: Run;
  readonly #files: DnsmasqFiles;
  readonly #subnetFile: string;

  constructor(paths: HostPaths, run: Run, name: string = MANAGED_BRIDGE) {
    this.name = name;
    this.#run = run;
    this.#files = dnsmasqFiles(paths.networkDir, name);
    this.#subnetFile = join(paths.networkDir, `${name}.subnet`);
  }

  /** Where dnsmasq keeps its leases. */
  get leasesFile(): string {
    return this.#files.leases;
  }

  /**
   * Makes whatever is missing: bridge, address, forwarding, masquerading, dnsmasq. Returns the network.
   * @throws FairleadError `host_failed` with the program's words
   */
  async ensure(): Promise<Subnet> {
    const subnet = await this.#chosenSubnet();
    const { code, stdout } = await this.#ip('addr', 'show', 'dev', this.name);
    if (code !== 0) await this.#mustIp('link', 'add', 'name', this.name, 'type', 'bridge');
    const addressed = code === 0 && stdout.includes(`"${subnet.address}"`);
    if (!addressed) await this.#mustIp('addr', 'replace', `${subnet.address}/${subnet.prefix}`, 'dev', this.name);
    await this.#mustIp('link', 'set', 'dev', this.name, 'up');
    await writeFile(FORWARDING, '1');
    await ensureMasquerade(this.#run, this.name, networkOf(subnet));
    await ensureDnsmasq(this.#run, dnsmasqArgv(this.name, subnet, this.#files), this.#files);
    return subnet;
  }

  /** Takes everything back, for a host that leaves the fleet. Forwarding stays: others may have come to need it. */
  async teardown(): Promise<void> {
    await stopDnsmasq(this.#files);
    const subnet = parseSubnet((await readIfThere(this.#subnetFile)) ?? '');
    if (subnet) await removeMasquerade(this.#run, this.name, networkOf(subnet));
    const { code } = await this.#ip('link', 'show', 'dev', this.name);
    if (code === 0) await this.#mustIp('link', 'delete', 'dev', this.name);
    for (const path of [...Object.values(this.#files), this.#subnetFile]) await removeDurably(path);
  }

  /** Makes an instance's name known to DNS; call it before the instance starts. */
  async nameHost(hwaddr: string, name: string): Promise<void> {
    await nameHost(this.#files, hwaddr, name);
  }

  /** The reverse of {@link nameHost}. */
  async forgetHost(hwaddr: string): Promise<void> {
    await forgetHost(this.#files, hwaddr);
  }

  /** Chosen once, so that addresses stay the same over reboots. */
  async #chosenSubnet(): Promise<Subnet> {
    const chosen = parseSubnet((await readIfThere(this.#subnetFile)) ?? '');
    if (chosen) return chosen;
    const table = routes.parse(JSON.parse(await this.#mustIp('route', 'show', 'table', 'all')));
    const picked = pickSubnet(table.map(({ dst }) => dst).filter((dst) => /^[\d./]+$/.test(dst)));
    if (!picked) {
      throw new FairleadError(
        'host_failed',
        `No network is free for the bridge ${this.name}: write one such as 172.30.0.1/24 into ${this.#subnetFile}`,
      );
    }
    await writeDurably(this.#subnetFile, `${picked.address}/${picked.prefix}\n`);
    return picked;
  }

  #ip(...args: string[]) {
    return this.#run(['ip', '-j', '-4', ...args], { timeoutMs: TIMEOUT_MS });
  }

  #mustIp(...args: string[]): Promise<string> {
    return runOrFail(this.#run, ['ip', '-j', '-4', ...args], { timeoutMs: TIMEOUT_MS });
  }
}
