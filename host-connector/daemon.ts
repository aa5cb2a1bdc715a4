import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { Journal } from './commands/journal.ts';
import type { Watch } from './commands/watch.ts';
import { openConnector, run, type ConnectorParts } from './connector.ts';
import { openDatabase } from './database.ts';
import { realDisk } from './disk.ts';
import { bootId } from './host/boot.ts';
import { hostPaths } from './host/paths.ts';
import { loadKey } from './identity/key.ts';
import { loadRecord } from './identity/record.ts';
import { dialler } from './link/dial.ts';
import { Spool } from './link/spool.ts';
import type { Log } from './log.ts';
import { watchContainers } from './lxc/monitor.ts';
import { watchLeases } from './network/leases.ts';
import { StatusFile } from './status.ts';
import { openHost, type ThisHost } from './this-host.ts';
import { CONNECTOR_VERSION } from './version.ts';
import { realWorld } from './world.ts';

/** How long a stop waits for commands that are under way; what is not done then is settled at the next start. */
const STOP_MS = 10_000;
const STOP_STEP_MS = 50;
/** How often images that nobody used for days are looked for. */
const EXPIRE_EVERY_MS = 6 * 60 * 60_000;

/** A running connector. */
export interface Daemon {
  /** Stops. Containers keep running. */
  stop(): Promise<void>;
}

/**
 * Runs the connector of a host that has joined: settles what a crash interrupted, starts what starts after a boot, links.
 * @param giveUp called when no link could be had for so long that a fresh process is the better bet
 * @throws FairleadError `not_found` on a host that has not joined; whatever keeps the host from working
 */
export async function startDaemon(stateDir: string, log: Log, giveUp: () => void): Promise<Daemon> {
  const paths = hostPaths(stateDir);
  const key = await loadKey(stateDir);
  const record = await loadRecord(stateDir);
  if (!key || !record) {
    throw new FairleadError(
      'not_found',
      'This host belongs to no fleet yet. Get a join token and run "fairlead-connector join TOKEN".',
    );
  }
  const boot = await bootId();
  const db = openDatabase(stateDir);
  const host = await openHost(paths, db, record, log);
  const status = new StatusFile(stateDir, log);
  status.tell({ problem: 'not linked yet' });
  const parts: ConnectorParts = {
    host,
    moves: { ...host.moves, sign: (typ, payload) => key.sign(typ, payload) },
    journal: new Journal(db, () => Date.now()),
    spool: new Spool(db),
    stateDir,
    disk: realDisk,
    boot,
    record,
    dialler: (identity) => dialler(identity, key, boot),
    world: realWorld,
    wallClock: () => Date.now(),
    newId: randomUUID,
    status: (change) => status.tell(change),
    giveUp,
  };
  const connector = await openConnector(parts);
  const { dispatcher, sessions, connection } = connector;
  const ends = await watchHost(host, paths, connector.watch, log);
  run(connector, parts).catch((error: unknown) =>
    log('error', `starting instances after the boot failed: ${messageOf(error)}`),
  );
  log(
    'info',
    `connector ${CONNECTOR_VERSION} of host "${record.name}" runs; ${host.roles.all().length} instances here`,
  );

  return {
    stop: async () => {
      for (const end of ends) end();
      dispatcher.stop();
      const deadline = Date.now() + STOP_MS;
      while ((dispatcher.load > 0 || sessions.open > 0) && Date.now() < deadline) await sleep(STOP_STEP_MS);
      connection.stop();
      await status.end();
      db.close();
    },
  };
}

/** Network, events of LXC, leases, unused images. Returns what ends them. */
async function watchHost(
  host: ThisHost,
  paths: ReturnType<typeof hostPaths>,
  watch: Watch,
  log: Log,
): Promise<(() => void)[]> {
  try {
    await host.bridge.ensure();
  } catch (error) {
    // Instances without it still work, and the next start of one with it says so again.
    log('error', `the network for instances could not be set up: ${messageOf(error)}`);
  }
  const monitor = watchContainers(paths, {
    event: ({ id }) => watch.changed(id),
    restarted: (reason) => {
      log('warn', `events of LXC may have been missed: ${reason}`);
      watch.allChanged();
    },
  });
  const leases = watchLeases(
    host.bridge.leasesFile,
    ({ hwaddr }) => {
      const id = host.containers.byHwaddr(hwaddr);
      if (id) watch.changed(id);
    },
    (error) => log('warn', `leases cannot be read: ${messageOf(error)}`),
  );
  const expiry = setInterval(() => {
    const inUse = new Set(host.roles.all().flatMap(({ spec }) => spec.image?.fingerprint ?? []));
    host.cache
      .expire(inUse)
      .catch((error: unknown) => log('warn', `unused images could not be removed: ${messageOf(error)}`));
  }, EXPIRE_EVERY_MS);
  return [() => monitor.close(), leases, () => clearInterval(expiry)];
}
