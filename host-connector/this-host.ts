import { randomUUID } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseSync } from 'node:sqlite';

import type { HostFacts } from '#shared/link/commands.ts';
import { Checkpoints } from './checkpoint/checkpoints.ts';
import type { Host } from './commands/host.ts';
import type { MoveParts } from './commands/moves/parts.ts';
import { Observer } from './commands/observer.ts';
import { Roles } from './commands/roles.ts';
import { LocalContainers } from './containers.ts';
import { Counter } from './database.ts';
import { collectFacts, readKernelHost } from './host/facts.ts';
import type { HostPaths } from './host/paths.ts';
import { criuFactsHere } from './host/criu.ts';
import { loadPolicy } from './host/policy.ts';
import { ensureSubordinateIds } from './host/subids.ts';
import { openImageCache, type ImageCache } from './images/cache.ts';
import { downloadFetch } from './link/fetch.ts';
import type { Log } from './log.ts';
import { LxcRuntime } from './lxc/runtime.ts';
import { ManagedBridge } from './network/bridge.ts';
import { run, spawnPiped } from './process.ts';
import { pickStorage } from './storage/pick.ts';
import { openTrash } from './storage/trash.ts';
import { CONNECTOR_VERSION } from './version.ts';

/** The host ids of all instances, LXD's own choice, where the policy gives none. */
const DEFAULT_IDMAP = { base: 1_000_000, size: 1_000_000_000 };

/** The host as the commands see it, with what only the composition root uses. */
export interface ThisHost extends Host {
  readonly containers: LocalContainers;
  readonly cache: ImageCache;
  readonly bridge: ManagedBridge;
  /** For moves; the host's key signs. */
  readonly moves: Omit<MoveParts, 'sign'>;
}

/** What a host consists of before it belongs to anybody: enough for its facts. */
export async function hostFacts(stateDir: string): Promise<HostFacts> {
  const policy = await loadPolicy();
  const idmap = policy.policy.idmapRanges?.[0] ?? DEFAULT_IDMAP;
  return collectFacts({ stateDir, run, storage: [], connectorVersion: CONNECTOR_VERSION, policy, idmap });
}

/**
 * Puts this host together: id ranges, storage, images, network, LXC. Starts and stops nothing.
 * @throws FairleadError when the host lacks something that nothing works without
 */
export async function openHost(
  paths: HostPaths,
  db: DatabaseSync,
  cloud: { readonly url: string; readonly pin?: string | undefined },
  log: Log,
): Promise<ThisHost> {
  const { stateDir } = paths;
  const idmap = (await loadPolicy()).policy.idmapRanges?.[0] ?? DEFAULT_IDMAP;
  await ensureSubordinateIds(idmap);
  const newId = (): string => randomUUID();
  const trash = openTrash(join(stateDir, 'trash'), { run, newId });
  await trash.sweep();
  const storage = await pickStorage({ stateDir, run, spawn: spawnPiped, trash, newId });
  if (storage.noOverlay) log('warn', `instances are full copies of their image here: ${storage.noOverlay}`);
  const fetch = downloadFetch(cloud.url, cloud.pin);
  const cache = openImageCache({
    stateDir,
    idmap,
    trash,
    run,
    spawn: spawnPiped,
    newId,
    now: () => Date.now(),
    fetch,
    sleep: (ms) => sleep(ms),
    random: () => Math.random(),
  });
  await cache.open();
  const roles = await Roles.open(paths);
  const bridge = new ManagedBridge(paths, run);
  const runtime = new LxcRuntime(paths, run);
  const kernel = await readKernelHost();
  const containers = new LocalContainers({
    paths,
    run,
    runtime,
    storage,
    images: cache,
    bridge,
    kernel,
    roles,
    policy: async () => (await loadPolicy()).policy,
    idmap,
    now: () => performance.now(),
  });
  const drivers = [...new Set([storage.shared.name, storage.isolated.name])];
  return {
    log,
    roles,
    cache,
    bridge,
    containers,
    disks: containers,
    moves: {
      checkpoints: new Checkpoints({ paths, run, runtime, kernel }),
      spawn: spawnPiped,
      world: { fetch, sleep: (ms) => sleep(ms), random: () => Math.random() },
      folder: (move) => join(stateDir, 'moves', move),
      tree: (spec, scratch) => containers.tree(spec, scratch),
      idmapOf: (spec) => containers.idmapOf(spec),
      arm: (spec) => containers.arm(spec),
      freeDisk: async () => {
        const { bavail, bsize } = await statfs(stateDir);
        return bavail * bsize;
      },
      criu: () => criuFactsHere(run),
      wallClock: () => Date.now(),
      now: () => performance.now(),
    },
    policy: async () => (await loadPolicy()).policy,
    observer: new Observer(containers, new Counter(db, 'seq')),
    images: {
      ensure: async (fingerprint, locate, progress) => {
        await cache.ensure(fingerprint, async () => [await locate()], progress);
      },
    },
    facts: async () =>
      collectFacts({
        stateDir,
        run,
        storage: drivers,
        connectorVersion: CONNECTOR_VERSION,
        policy: await loadPolicy(),
        idmap,
      }),
  };
}
