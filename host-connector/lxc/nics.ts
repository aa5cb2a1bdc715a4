/** The network interfaces of an instance, with names and addresses that stay the same at every start and after a move. Pure. */
import { createHash } from 'node:crypto';
import { readDevice } from '#shared/config/readDevice.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';

/** One interface: a veth pair, one end inside, the other on a bridge. */
export interface Nic {
  /** Name of the device in the instance's configuration. */
  readonly device: string;
  /** Name inside. */
  readonly name: string;
  /** Name of the other end on the host; fixed, because CRIU must find it again. */
  readonly hostName: string;
  readonly bridge: string;
  readonly hwaddr: string;
  readonly mtu?: number;
}

/** LXC's own prefix of hardware addresses, as in LXD. */
const HWADDR_PREFIX = '00:16:3e';

/** The nics of a spec, in the order of their device names. @throws FairleadError `bad_config` */
export function nicsOf(spec: Pick<InstanceSpec, 'id' | 'config' | 'devices'>): Nic[] {
  const devices = Object.entries(spec.devices).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const typed = devices.flatMap(([name, options]) => {
    const device = readDevice(name, options);
    return device.type === 'nic' ? [{ name, device }] : [];
  });
  const taken = new Set(typed.map(({ device }) => device.interfaceName));
  return typed.map(({ name, device }, index) => ({
    device: name,
    name: device.interfaceName ?? nextFree(taken),
    hostName: device.hostName ?? hostNicName(spec.id, index),
    bridge: device.bridge,
    hwaddr: device.hwaddr ?? spec.config[`volatile.${name}.hwaddr`] ?? derivedHwaddr(spec.id, name),
    ...(device.mtu !== undefined && { mtu: device.mtu }),
  }));
}

/** `fl1a2b3c4d`, then `fl1a2b3c4d-1`...: within the kernel's 15 characters. From a hash, as ids may begin alike. */
function hostNicName(id: string, index: number): string {
  return `fl${digest(id).slice(0, 8)}${index === 0 ? '' : `-${index}`}`;
}

/** The hardware address of a nic that was given none. */
function derivedHwaddr(id: string, device: string): string {
  const hex = digest(`${id} ${device}`);
  return [HWADDR_PREFIX, hex.slice(0, 2), hex.slice(2, 4), hex.slice(4, 6)].join(':');
}

function nextFree(taken: Set<string | undefined>): string {
  let number = 0;
  while (taken.has(`eth${number}`)) number++;
  taken.add(`eth${number}`);
  return `eth${number}`;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
