/** The typed form of a device, which the host works with. */
import type { Device } from '../lxd/maps.ts';
import { deviceType, validateDevices } from './devices.ts';
import * as v from './values.ts';

export interface NicDevice {
  type: 'nic';
  /** Host bridge the interface joins. */
  bridge: string;
  /** Interface name inside; absent means the next free ethN. */
  interfaceName?: string;
  hostName?: string;
  hwaddr?: string;
  mtu?: number;
  ipv4Address?: string;
  ipv6Address?: string;
  macFiltering: boolean;
  ipv4Filtering: boolean;
  ipv6Filtering: boolean;
  /** Bits a second. */
  ingress?: number;
  egress?: number;
}

export interface DiskDevice {
  type: 'disk';
  /** Where it appears inside; "/" for the root disk. */
  path: string;
  /** Path on the host; absent for the root disk. */
  source?: string;
  /** Of the root disk only. */
  pool?: string;
  sizeBytes?: number;
  readonly: boolean;
  /** Whether a missing source keeps the instance from starting. */
  required: boolean;
  recursive: boolean;
  shift: boolean;
  propagation?: string;
}

export interface UnixDevice {
  type: 'unix-char' | 'unix-block';
  /** Device file on the host. */
  source: string;
  /** Device file inside. */
  path: string;
  /** Given instead of being read from the host's file. */
  number?: { major: number; minor: number };
  mode: string;
  uid: number;
  gid: number;
  required: boolean;
}

export type TypedDevice = { type: 'none' } | NicDevice | DiskDevice | UnixDevice;

/** The typed form of one device. Throws `bad_config` when it is not valid. */
export function readDevice(name: string, device: Device): TypedDevice {
  validateDevices({ [name]: device });
  const type = deviceType(device) ?? 'none';
  const options = new Options(name, device);
  if (type === 'nic') return nic(options);
  if (type === 'disk') return disk(options);
  return type === 'none' ? { type } : unix(type, options);
}

/** The options of one device, each read as what it is; absent and '' are the same. */
class Options {
  readonly #name: string;
  readonly #device: Device;

  constructor(name: string, device: Device) {
    this.#name = name;
    this.#device = device;
  }

  text(option: string): string | undefined {
    return (Object.hasOwn(this.#device, option) && this.#device[option]) || undefined;
  }

  read<T>(option: string, kind: v.Kind<T>): T | undefined {
    const value = this.text(option);
    return value === undefined ? undefined : v.readValue(kind, `${this.#name}.${option}`, value);
  }

  on(option: string, byDefault = false): boolean {
    return this.read(option, v.bool) ?? byDefault;
  }
}

function nic(options: Options): NicDevice {
  const both = options.read('limits.max', v.bitRate);
  return present<NicDevice>({
    type: 'nic',
    bridge: options.text('network') ?? options.text('parent'),
    interfaceName: options.text('name'),
    hostName: options.text('host_name'),
    hwaddr: options.text('hwaddr')?.toLowerCase(),
    mtu: options.read('mtu', v.mtu),
    ipv4Address: options.text('ipv4.address'),
    ipv6Address: options.text('ipv6.address'),
    macFiltering: options.on('security.mac_filtering'),
    ipv4Filtering: options.on('security.ipv4_filtering'),
    ipv6Filtering: options.on('security.ipv6_filtering'),
    ingress: options.read('limits.ingress', v.bitRate) ?? both,
    egress: options.read('limits.egress', v.bitRate) ?? both,
  });
}

function disk(options: Options): DiskDevice {
  return present<DiskDevice>({
    type: 'disk',
    path: options.text('path'),
    source: options.text('source'),
    pool: options.text('pool'),
    sizeBytes: options.read('size', v.size),
    readonly: options.on('readonly'),
    required: options.on('required', true) && !options.on('optional'),
    recursive: options.on('recursive'),
    shift: options.on('shift'),
    propagation: options.text('propagation'),
  });
}

function unix(type: UnixDevice['type'], options: Options): UnixDevice {
  const [major, minor] = [options.read('major', v.uint32), options.read('minor', v.uint32)];
  return present<UnixDevice>({
    type,
    source: options.text('source') ?? options.text('path'),
    path: options.text('path') ?? options.text('source'),
    number: major === undefined || minor === undefined ? undefined : { major, minor },
    mode: options.text('mode') ?? '0660',
    uid: options.read('uid', v.uint32) ?? 0,
    gid: options.read('gid', v.uint32) ?? 0,
    required: options.on('required', true),
  });
}

/** The object without its undefined members; that none is missing which is needed, the validation before has seen to. */
function present<T extends object>(fields: { [K in keyof T]-?: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
