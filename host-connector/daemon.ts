import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { toWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import { PROTOCOL_VERSION } from '#shared/link/limits.ts';
import { Asks } from './commands/asks.ts';
import { autostart } from './commands/autostart.ts';
import { consoleLog } from './commands/console-log.ts';
import { create } from './commands/create.ts';
import { remove } from './commands/delete.ts';
import { Dispatcher } from './commands/dispatch.ts';
import { execThrough } from './commands/exec.ts';
import { facts } from './commands/facts.ts';
import { Journal } from './commands/journal.ts';
import { measure } from './commands/measure.ts';
import { adopt, reconcile } from './commands/reconcile.ts';
import { fullReport } from './commands/report.ts';
import { state } from './commands/state.ts';
import { update } from './commands/update.ts';
import { Watch } from './commands/watch.ts';
import { openDatabase } from './database.ts';
import { readIfThere, removeDurably, writeDurably } from './durable.ts';
import { bootId } from './host/boot.ts';
import { hostPaths } from './host/paths.ts';
import { loadKey } from './identity/key.ts';
import { loadRecord, saveRecord } from './identity/record.ts';
import { Connection, type LinkLine, type LinkListener } from './link/connection.ts';
import { dialler } from './link/dial.ts';
import { Pump } from './link/pump.ts';
import { Spool } from './link/spool.ts';
import type { Log } from './log.ts';
import { watchContainers } from './lxc/monitor.ts';
import { watchLeases } from './network/leases.ts';
import { writeStatus, type ConnectorStatus } from './status.ts';
import { Sessions } from './streams/sessions.ts';
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
  let record = await loadRecord(stateDir);
  if (!key || !record) {
    throw new FairleadError(
      'not_found',
      'This host belongs to no fleet yet. Get a join token and run "fairlead-connector join TOKEN".',
    );
  }
  const boot = await bootId();
  const db = openDatabase(stateDir);
  const host = await openHost(paths, db, record, log);
  const journal = new Journal(db, () => Date.now());
  const spool = new Spool(db);
  await reconcile(host, journal, spool);

  let clockAhead = 0;
  const send = (frame: UpFrame): void => connection.line?.send(frame);
  const pump = new Pump(spool, realWorld);
  const asks = new Asks(send, realWorld, randomUUID);
  const sessions = new Sessions(realWorld);
  const executors = {
    create,
    state,
    update,
    delete: remove,
    exec: execThrough(sessions),
    measure,
    'console-log': consoleLog,
    facts,
  };
  const cloudNow = (): number => Date.now() + clockAhead;
  const dispatcher = new Dispatcher({ host, journal, spool, pump, asks, executors, send, cloudNow });
  const watch = new Watch(host, spool, pump, realWorld);
  const status = statusFile(stateDir, log);
  let known = await host.facts();

  const listener: LinkListener = {
    hello: (replaces) => {
      const generation = record?.secret.generation;
      const common = { t: 'hello', v: PROTOCOL_VERSION, boot, facts: known } as const;
      return Promise.resolve({ ...common, ...(generation && { generation }), ...(replaces && { replaces }) });
    },
    welcome: async ({ secret, now }) => {
      clockAhead = now - Date.now();
      if (!record || !secret || secret.generation < record.secret.generation) return;
      const next = { ...record, secret };
      await saveRecord(stateDir, next);
      record = next;
    },
    serving: (line) => {
      status({ linkedSince: Date.now() });
      void told(report(line), 'the report').then(() => connection.line === line && pump.use(line));
      void told(
        host.facts().then((facts) => void (known = facts)),
        'facts',
      );
    },
    frame: (frame, line) => receive(frame, line),
    closed: (line) => {
      sessions.lineClosed(line);
      if (connection.line) return;
      pump.use(undefined);
      status({ problem: 'the link was lost' });
    },
    unknown: (text, error) => {
      const id = commandIdOf(text);
      if (id === undefined) return;
      const why = new FairleadError(
        'bad_request',
        `This host's connector (${CONNECTOR_VERSION}) does not know the command; update it.`,
        {
          cause: error,
        },
      );
      send(spool.passing(id, { ok: false, seq: host.observer.next(), error: toWire(why) }));
    },
    giveUp: () => {
      // Work under way is worth more than a fresh process; the question comes again.
      if (dispatcher.load === 0) giveUp();
    },
  };

  const report = async (line: LinkLine): Promise<void> => {
    for (const frame of await fullReport(host)) line.send(frame);
  };
  const told = (work: Promise<unknown>, what: string): Promise<void> =>
    work.then(
      () => undefined,
      (error: unknown) => log('error', `${what} failed: ${messageOf(error)}`),
    );
  const receive = (frame: DownFrame, line: LinkLine): void => {
    switch (frame.t) {
      case 'cmd':
        return void told(dispatcher.command(frame, line), `command ${frame.id}`);
      case 'got':
        return pump.got(frame.n);
      case 'cancel':
        return dispatcher.cancel(frame.id);
      case 'report-now':
        return void told(report(line), 'the report');
      case 'answer':
        return asks.answer(frame);
      case 'd':
      case 'a':
      case 'rst':
        return sessions.frame(frame);
      case 'gone':
        return sessions.gone(frame);
      case 'resume':
        return sessions.resume(frame, line);
      case 'refused':
        return log('warn', `the control plane refused a frame: ${frame.error.message}`);
      case 'welcome':
      case 'hb':
      case 'drain':
      case 'bye':
      case 'attached':
      case 'publish':
    }
  };

  const connection = new Connection(
    dialler(() => record ?? never(), key, boot),
    realWorld,
    listener,
    log,
  );
  const ends = await watchHost(host, paths, watch, log);
  void told(afterBoot(host, dispatcher, stateDir, boot), 'starting instances after the boot');
  connection.start();
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
      await removeDurably(join(stateDir, 'status.json'));
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

/** Once a boot: starts what should run. In the same boot containers that run are simply still there. */
async function afterBoot(host: ThisHost, dispatcher: Dispatcher, stateDir: string, boot: string): Promise<void> {
  const path = join(stateDir, 'boot');
  if ((await readIfThere(path))?.trim() === boot) {
    await adopt(host);
    return;
  }
  await autostart(
    host,
    (id, task) => dispatcher.alone(id, task),
    (ms) => sleep(ms),
  );
  await writeDurably(path, `${boot}\n`);
}

function statusFile(stateDir: string, log: Log): (change: Pick<ConnectorStatus, 'linkedSince' | 'problem'>) => void {
  const startedAt = Date.now();
  return (change) => {
    writeStatus(stateDir, { pid: process.pid, version: CONNECTOR_VERSION, startedAt, ...change }).catch(
      (error: unknown) => log('warn', `the status could not be written: ${messageOf(error)}`),
    );
  };
}

/** As much of a command as every version writes alike. */
const anyCommand = z
  .string()
  .transform(parseJson)
  .pipe(z.object({ t: z.literal('cmd'), id: z.string().max(64) }));

/** The id of a command that this version cannot read, so that it can be refused. */
function commandIdOf(text: string): string | undefined {
  return anyCommand.safeParse(text).data?.id;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function never(): never {
  throw new FairleadError('internal', 'The identity of this host vanished.');
}
