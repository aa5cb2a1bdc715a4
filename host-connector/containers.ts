import { mkdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { FairleadError } from '#shared/errors.ts';
import { changedKeys } from '#shared/config/liveUpdate.ts';
import { isOn } from '#shared/config/keys.ts';
import { limitsOf } from '#shared/config/limits.ts';
import type { HostPolicy } from '#shared/config/policy.ts';
import type { InstanceSpec, InstanceStatus, Measurement } from '#shared/link/commands.ts';
import type { Containers, Disks } from './commands/host.ts';
import { Serial } from './commands/lanes.ts';
import type { Roles } from './commands/roles.ts';
import { removeDurably } from './durable.ts';
import type { KernelHost } from './host/facts.ts';
import type { HostPaths } from './host/paths.ts';
import type { ImageCache } from './images/cache.ts';
import type { IdMap } from './images/confine.ts';
import { attach, type AttachRequest, type Session } from './lxc/attach.ts';
import { readConsoleLog } from './lxc/console.ts';
import { prepareDevices } from './lxc/devices.ts';
import { limitFiles } from './lxc/limits.ts';
import { applyLimits } from './lxc/liveLimits.ts';
import { measure } from './lxc/measure.ts';
import { nicsOf } from './lxc/nics.ts';
import type { LxcRuntime } from './lxc/runtime.ts';
import { writeConfig } from './lxc/write.ts';
import type { ManagedBridge } from './network/bridge.ts';
import type { Run } from './process.ts';
import type { ImageSource, StorageDriver } from './storage/driver.ts';
import type { Storage } from './storage/pick.ts';
import type { Tree } from './transfer/tree.ts';

/** Disk use is counted by walking the tree: not more often than this for one instance. */
const USAGE_FRESH_MS = 60_000;
/** Host ids of one instance that shares them with no other. */
const ISOLATED_IDS = 65_536;

/** Keys that decide whose ids the root filesystem's files belong to: changing one means changing every file. */
const OWNERSHIP_KEYS: ReadonlySet<string> = new Set(['security.privileged', 'security.idmap.isolated']);

/** The parts of this host that instances are made of. */
export interface LocalParts {
  readonly paths: HostPaths;
  readonly run: Run;
  readonly runtime: LxcRuntime;
  readonly storage: Storage;
  readonly images: ImageCache;
  readonly bridge: ManagedBridge;
  readonly kernel: KernelHost;
  readonly roles: Roles;
  readonly policy: () => Promise<HostPolicy>;
  /** The ids of all instances that share images; those of isolated ones are cut out of it. */
  readonly idmap: IdMap;
  /** A monotonic clock, milliseconds. */
  readonly now: () => number;
}

/** Instances on this host: storage, network and LXC put together. */
export class LocalContainers implements Containers, Disks {
  readonly #parts: LocalParts;
  readonly #taking = new Serial();
  readonly #usage = new Map<string, { at: number; bytes: Promise<number> }>();

  constructor(parts: LocalParts) {
    this.#parts = parts;
  }

  async create(spec: InstanceSpec): Promise<void> {
    const idmap = await this.#takeIds(spec);
    const image = await this.#image(spec);
    await this.#driver(spec).create(this.#parts.paths.instance(spec.id).dir, image, idmap ?? this.#parts.idmap);
  }

  async start(spec: InstanceSpec): Promise<void> {
    await this.arm(spec);
    await this.#parts.runtime.start(spec.id);
  }

  /** All of a start but the start: mounts, network, devices, configuration. */
  async arm(spec: InstanceSpec): Promise<void> {
    const { paths, bridge, kernel } = this.#parts;
    const { dir } = paths.instance(spec.id);
    const idmap = this.idmapOf(spec);
    await this.#driver(spec).mount(dir, await this.#image(spec));
    const nics = nicsOf(spec);
    const managed = nics.filter((nic) => nic.bridge === bridge.name);
    if (managed.length > 0 && !existsSync(`/sys/class/net/${bridge.name}`)) await bridge.ensure();
    for (const { hwaddr } of managed) await bridge.nameHost(hwaddr, spec.name);
    const { ceiling } = await this.#parts.policy();
    const rootId = isOn(spec.config, 'security.privileged') ? 0 : idmap.base;
    const setup = { folder: join(dir, 'devices'), rootId, diskSources: ceiling.diskSources, run: this.#parts.run };
    const { mounts, nodes } = await prepareDevices(spec, setup);
    const limits = limitsOf(spec.config);
    await writeConfig(paths, { spec, limits, idmap, host: kernel, nics, mounts, devices: nodes });
  }

  /** The root filesystem, mounted, with what it grew from; `scratch` is made when missing. */
  async tree(spec: InstanceSpec, scratch: string): Promise<Tree> {
    const { dir, rootfs } = this.#parts.paths.instance(spec.id);
    const driver = this.#driver(spec);
    const image = await this.#image(spec);
    await driver.mount(dir, image);
    await mkdir(scratch, { recursive: true, mode: 0o700 });
    const upper = driver.name === 'overlay' ? { upper: join(dir, 'upper') } : {};
    return { rootfs, ...upper, image: join(image.dir, 'rootfs'), idmap: this.idmapOf(spec), scratch };
  }

  stop(spec: InstanceSpec, options: { force: boolean; timeoutSeconds: number }): Promise<void> {
    return this.#parts.runtime.stop(spec.id, options);
  }

  freeze(id: string): Promise<void> {
    return this.#parts.runtime.freeze(id);
  }

  unfreeze(id: string): Promise<void> {
    return this.#parts.runtime.unfreeze(id);
  }

  async update(before: InstanceSpec, after: InstanceSpec): Promise<void> {
    const moved = changedKeys(before.config, after.config).filter((key) => OWNERSHIP_KEYS.has(key));
    if (moved.length > 0) {
      throw new FairleadError(
        'bad_config',
        `${moved.join(' and ')} cannot be changed on an instance that exists: all its files would have to change owner. Make a new one with it.`,
      );
    }
    const { runtime, kernel } = this.#parts;
    const { status, pid } = await runtime.status(after.id);
    if (status === 'Stopped') return;
    const [old, next] = [before, after].map(({ id, config }) =>
      limitFiles(limitsOf(config), kernel, id, isOn(config, 'security.nesting')),
    );
    if (old && next) await applyLimits({ id: after.id, pid, cgroups: kernel.cgroups }, old, next);
  }

  /** Forgets everything of an instance but its root filesystem and its role. */
  async forget(spec: InstanceSpec): Promise<void> {
    const { paths, bridge } = this.#parts;
    for (const nic of nicsOf(spec)) if (nic.bridge === bridge.name) await bridge.forgetHost(nic.hwaddr);
    await rm(join(paths.instance(spec.id).dir, 'devices'), { recursive: true, force: true });
    await removeDurably(paths.instance(spec.id).config);
    this.#usage.delete(spec.id);
  }

  async remove(id: string): Promise<void> {
    const { storage, paths } = this.#parts;
    // Both: which one made it may have been forgotten, and each leaves alone what it did not make.
    await storage.shared.remove(paths.instance(id).dir);
    await storage.isolated.remove(paths.instance(id).dir);
  }

  async status(id: string): Promise<InstanceStatus> {
    return (await this.#parts.runtime.status(id)).status;
  }

  running(): Promise<ReadonlySet<string>> {
    return this.#parts.runtime.running();
  }

  async measure(spec: InstanceSpec): Promise<Measurement> {
    const { runtime, kernel, run } = this.#parts;
    const [live, usage] = await Promise.all([runtime.status(spec.id), this.#diskUsage(spec)]);
    return measure({
      id: spec.id,
      live,
      cgroups: kernel.cgroups,
      hostMemory: kernel.memory,
      hostNames: Object.fromEntries(nicsOf(spec).map(({ name, hostName }) => [name, hostName])),
      disk: { root: { usage, total: 0 } },
      run,
    });
  }

  consoleLog(id: string): Promise<string> {
    return readConsoleLog(this.#parts.paths.instance(id).consoleLog);
  }

  attach(spec: InstanceSpec, request: AttachRequest): Promise<Session> {
    return attach(this.#parts.paths, spec.id, request);
  }

  /** The instance that has a hardware address. */
  byHwaddr(hwaddr: string): string | undefined {
    return this.#parts.roles.all().find(({ spec }) => nicsOf(spec).some((nic) => nic.hwaddr === hwaddr))?.spec.id;
  }

  async #diskUsage(spec: InstanceSpec): Promise<number> {
    const known = this.#usage.get(spec.id);
    const at = this.#parts.now();
    if (known && at - known.at < USAGE_FRESH_MS) return known.bytes;
    const bytes = this.#driver(spec).usage(this.#parts.paths.instance(spec.id).dir);
    this.#usage.set(spec.id, { at, bytes });
    // A count that failed is not kept.
    bytes.catch(() => this.#usage.delete(spec.id));
    return bytes;
  }

  #driver({ config }: InstanceSpec): StorageDriver {
    const { storage } = this.#parts;
    const own = isOn(config, 'security.privileged') || isOn(config, 'security.idmap.isolated');
    return own ? storage.isolated : storage.shared;
  }

  async #image({ name, image }: InstanceSpec): Promise<ImageSource> {
    const found = image && (await this.#parts.images.get(image.fingerprint));
    if (found) return found;
    throw new FairleadError(
      'not_found',
      image
        ? `The image of "${name}" is not on this host any more. Delete the instance and launch it again.`
        : `"${name}" was to be made without an image; this host cannot do that yet. Name an image.`,
    );
  }

  /** The host ids an instance has, or would have if it shares those of the images. */
  idmapOf(spec: Pick<InstanceSpec, 'id'>): IdMap {
    return this.#parts.roles.find(spec.id)?.idmap ?? this.#parts.idmap;
  }

  /** One at a time: two instances must not take the same ids. */
  #takeIds(spec: InstanceSpec): Promise<IdMap | undefined> {
    return this.#taking.run('ids', async () => {
      const idmap = this.#ownIds(spec);
      if (idmap) await this.#parts.roles.change(spec.id, { idmap });
      return idmap;
    });
  }

  /** Ids for an instance that does not share those of the images; undefined for one that does. */
  #ownIds({ config }: InstanceSpec): IdMap | undefined {
    if (isOn(config, 'security.privileged')) return { base: 0, size: ISOLATED_IDS };
    if (!isOn(config, 'security.idmap.isolated')) return undefined;
    const { idmap, roles } = this.#parts;
    const taken = new Set(roles.all().map((role) => role.idmap?.base));
    const end = idmap.base + idmap.size - ISOLATED_IDS;
    for (let base = idmap.base + ISOLATED_IDS; base <= end; base += ISOLATED_IDS) {
      if (!taken.has(base)) return { base, size: ISOLATED_IDS };
    }
    throw new FairleadError(
      'host_failed',
      'This host has no ids left for an isolated instance. Widen idmap_ranges in its policy.',
    );
  }
}
