/** IPv4 networks of the managed bridge. Pure. */

/** A network with the bridge's own address in it. */
export interface Subnet {
  /** The bridge's address. */
  readonly address: string;
  readonly prefix: number;
}

/** Tried in this order for a bridge that was given none: 10.58.0.1/24, then 10.59.0.1/24... */
const FIRST_CHOICE = 58;
const CHOICES = 150;
const PREFIX = 24;

/** The first choice that no route of the host touches; undefined when all are taken. `routes` as `10.0.0.0/8` or `10.1.2.3`. */
export function pickSubnet(routes: readonly string[]): Subnet | undefined {
  const taken = routes.filter((route) => route !== 'default').map(rangeOf);
  for (let step = 0; step < CHOICES; step++) {
    const candidate = { address: `10.${FIRST_CHOICE + step}.0.1`, prefix: PREFIX };
    const [low, high] = rangeOf(networkOf(candidate));
    if (taken.every(([from, to]) => to < low || high < from)) return candidate;
  }
  return undefined;
}

/** Reads `10.58.0.1/24`; undefined for anything else. */
export function parseSubnet(text: string): Subnet | undefined {
  const [address = '', prefix = ''] = text.trim().split('/');
  const ok = /^(\d{1,3}\.){3}\d{1,3}$/.test(address) && address.split('.').every((part) => Number(part) < 256);
  const bits = Number(prefix);
  return ok && /^\d{1,2}$/.test(prefix) && bits >= 8 && bits <= 29 ? { address, prefix: bits } : undefined;
}

/** `10.58.0.0/24` */
export function networkOf({ address, prefix }: Subnet): string {
  return `${text(number(address) - (number(address) % 2 ** (32 - prefix)))}/${prefix}`;
}

/** First and last address for guests: all but the network's, the bridge's (by convention the first) and the broadcast. */
export function dhcpRange(subnet: Subnet): readonly [first: string, last: string] {
  const [low, high] = rangeOf(networkOf(subnet));
  return [text(low + 2), text(high - 1)];
}

function rangeOf(route: string): readonly [low: number, high: number] {
  const [address = '', prefix = '32'] = route.split('/');
  const size = 2 ** (32 - Number(prefix));
  const low = number(address) - (number(address) % size);
  return [low, low + size - 1];
}

function number(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function text(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
