/** Addresses that dnsmasq gave out. */
import { stat } from 'node:fs/promises';
import { readIfThere, isMissing } from '../durable.ts';

/** One line of the leases file. `expires` in milliseconds since 1970. */
export interface Lease {
  readonly hwaddr: string;
  readonly address: string;
  readonly expires: number;
}

/** A file that is not a folder of a fleet's worth of leases is not read to its end. */
const MAX_LEASES = 10_000;
const POLL_MS = 1000;

/** Reads the file's text: `<expires> <hwaddr> <address> <hostname> <client id>` a line; DHCPv6 lines are left out. Pure. */
export function parseLeases(text: string): Lease[] {
  const leases: Lease[] = [];
  for (const line of text.split('\n')) {
    const [expires, hwaddr, address] = line.split(' ');
    if (!expires || !address || !hwaddr || !/^\d+$/.test(expires) || !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(hwaddr))
      continue;
    leases.push({ hwaddr: hwaddr.toLowerCase(), address, expires: Number(expires) * 1000 });
    if (leases.length === MAX_LEASES) break;
  }
  return leases;
}

/** Addresses by hardware address. */
export async function readLeases(path: string): Promise<ReadonlyMap<string, Lease>> {
  const text = await readIfThere(path);
  return new Map(parseLeases(text ?? '').map((lease) => [lease.hwaddr, lease]));
}

/**
 * Calls back with each lease that is new or changed its address, looking at one file's date once a second: dnsmasq writes
 * it anew each time, and a watch on it would follow the old one. Returns the function that ends it.
 */
export function watchLeases(
  path: string,
  changed: (lease: Lease) => void,
  failed: (error: unknown) => void,
): () => void {
  let known = new Map<string, string>();
  let seen = '';
  const look = async (): Promise<void> => {
    const version = await versionOf(path);
    if (version === seen) return;
    seen = version;
    const leases = await readLeases(path);
    for (const lease of leases.values()) if (known.get(lease.hwaddr) !== lease.address) changed(lease);
    known = new Map([...leases].map(([hwaddr, { address }]) => [hwaddr, address]));
  };
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look()
      .catch(failed)
      .finally(() => (looking = false));
  }, POLL_MS);
  return () => clearInterval(timer);
}

async function versionOf(path: string): Promise<string> {
  try {
    const { mtimeNs, ino, size } = await stat(path, { bigint: true });
    return `${mtimeNs} ${ino} ${size}`;
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}
