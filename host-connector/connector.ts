import { join } from 'node:path';
import * as z from 'zod';

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
import type { Executors } from './commands/executor.ts';
import { facts } from './commands/facts.ts';
import type { Host } from './commands/host.ts';
import type { Journal } from './commands/journal.ts';
import { measure } from './commands/measure.ts';
import { movesOf, NO_MOVES } from './commands/moves/executors.ts';
import type { MoveParts } from './commands/moves/parts.ts';
import { adopt, clearHalfMade, reconcile } from './commands/reconcile.ts';
import { fullReport } from './commands/report.ts';
import { state } from './commands/state.ts';
import { update } from './commands/update.ts';
import { Watch } from './commands/watch.ts';
import type { Disk } from './disk.ts';
import { readIfThere, writeDurably } from './durable.ts';
import { saveRecord, type HostRecord } from './identity/record.ts';
import { Connection, type LinkLine, type LinkListener, type LinkWorld } from './link/connection.ts';
import type { Dial } from './link/dial.ts';
import { Pump } from './link/pump.ts';
import type { Spool } from './link/spool.ts';
import type { ConnectorStatus } from './status.ts';
import { Sessions } from './streams/sessions.ts';
import { CONNECTOR_VERSION } from './version.ts';

/** How often what is left of instances that were not made to the end is looked for. */
const CLEAR_EVERY_MS = 60_000;
/** What cannot be noted, as on a full disk, is tried again after this long. */
const NOTE_AGAIN_MS = 10_000;

/** What a connector is made of: everything it does to the outside goes through these. */
export interface ConnectorParts {
  readonly host: Host;
  readonly journal: Journal;
  readonly spool: Spool;
  readonly stateDir: string;
  readonly disk: Disk;
  /** This boot of this host. */
  readonly boot: string;
  /** Who this host is, as it was read from its disk. */
  readonly record: HostRecord;
  /** Dials as whom `identity` gives, which changes with each connection. */
  readonly dialler: (identity: () => HostRecord) => Dial;
  readonly world: LinkWorld;
  /** The host's wall clock, milliseconds since 1970; it may be wrong. */
  readonly wallClock: () => number;
  readonly newId: () => string;
  readonly status: (change: Pick<ConnectorStatus, 'linkedSince' | 'problem'>) => void;
  /** No link could be had for so long that a fresh process is the better bet. */
  readonly giveUp: () => void;
  /** Absent on a host that takes no part in moves. */
  readonly moves?: MoveParts;
  /** What commands do; a test may look over their shoulders. */
  readonly executors?: (executors: Executors) => Executors;
}

/** A running connector, apart from the process it runs in. */
export interface Connector {
  readonly dispatcher: Dispatcher;
  readonly sessions: Sessions;
  /** To be told when an instance may have changed by itself. */
  readonly watch: Watch;
  readonly connection: Connection;
}

/** Settles what a crash interrupted, then puts the connector together. It dials, and starts instances after a boot, with {@link run}. */
export async function openConnector(parts: ConnectorParts): Promise<Connector> {
  const { host, journal, spool, world, newId, status, wallClock } = parts;
  const moves = parts.moves && movesOf(parts.moves);
  await reconcile(host, journal, spool, moves?.executors);

  let { record } = parts;
  let clockAhead = 0;
  const send = (frame: UpFrame): void => connection.line?.send(frame);
  const pump = new Pump(spool, world);
  const asks = new Asks(send, world, newId);
  const sessions = new Sessions(world, () => connection.greet());
  const own: Executors = {
    create,
    state,
    update,
    delete: remove,
    exec: execThrough(sessions),
    measure,
    'console-log': consoleLog,
    facts,
    ...(moves?.executors ?? NO_MOVES),
  };
  const executors = parts.executors?.(own) ?? own;
  const cloudNow = (): number => wallClock() + clockAhead;
  const dispatcher = new Dispatcher({ host, journal, spool, pump, asks, executors, send, cloudNow });
  const watch = new Watch(host, spool, pump, world);
  let known = await host.facts();

  const listener: LinkListener = {
    hello: (replaces) => {
      const { generation } = record.secret;
      const common = { t: 'hello', v: PROTOCOL_VERSION, boot: parts.boot, facts: known, generation } as const;
      return Promise.resolve({ ...common, ...(replaces && { replaces }) });
    },
    welcome: async ({ secret, now }) => {
      clockAhead = now - wallClock();
      if (!secret || secret.generation < record.secret.generation) return;
      const next = { ...record, secret };
      await saveRecord(parts.stateDir, next, parts.disk);
      record = next;
    },
    serving: (line) => {
      status({ linkedSince: wallClock() });
      pump.use(line);
      void told(report(), 'the report');
      void told(
        host.facts().then((facts) => void (known = facts)),
        'facts',
      );
    },
    frame: (frame, line) => {
      try {
        receive(frame, line);
      } catch (error) {
        // As on a full disk: one frame is not worth the process. Whoever sent it sends it again.
        host.log('error', `a ${frame.t} frame was not taken: ${messageOf(error)}`);
      }
    },
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
        { cause: error },
      );
      send(spool.passing(id, { ok: false, seq: host.observer.next(), error: toWire(why) }));
    },
    urgent: () => sessions.open > 0,
    giveUp: () => {
      // Work under way is worth more than a fresh process; the question comes again.
      if (dispatcher.load === 0) parts.giveUp();
    },
  };

  const report = async (): Promise<void> => {
    const frames = await fullReport(host);
    pump.report(frames.map((frame) => ({ ...frame, n: spool.number() })));
  };
  const told = (work: Promise<unknown>, what: string): Promise<void> =>
    work.then(
      () => undefined,
      (error: unknown) => host.log('error', `${what} failed: ${messageOf(error)}`),
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
        return void told(report(), 'the report');
      case 'chunk':
        return moves?.announced(frame);
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
        return host.log('warn', `the control plane refused a frame: ${frame.error.message}`);
      case 'welcome':
      case 'hb':
      case 'drain':
      case 'bye':
      case 'attached':
      case 'publish':
    }
  };

  const connection = new Connection(
    parts.dialler(() => record),
    world,
    listener,
    host.log,
  );
  return { dispatcher, sessions, watch, connection };
}

/** Begins: starts what starts after a boot, which needs no link, and dials. Rejects when the boot cannot be told from the one before. */
export async function run({ dispatcher, connection }: Connector, parts: ConnectorParts): Promise<void> {
  const alone: Alone = (id, task) => dispatcher.alone(id, task);
  const booted = afterBoot(alone, parts);
  connection.start();
  keepClear(alone, parts);
  await booted;
}

type Alone = (id: string, task: () => Promise<void>) => Promise<void>;

/** What could not be removed at once is tried again for as long as the connector runs. */
function keepClear(alone: Alone, parts: ConnectorParts): void {
  const { host, world } = parts;
  world.schedule(CLEAR_EVERY_MS, () => {
    clearHalfMade(host, alone)
      .catch((error: unknown) => host.log('error', `half-made instances could not be cleared: ${messageOf(error)}`))
      .finally(() => keepClear(alone, parts));
  });
}

/** Once a boot: starts what should run. In the same boot containers that run are simply still there. */
async function afterBoot(alone: Alone, parts: ConnectorParts): Promise<void> {
  const { host, disk, boot } = parts;
  const path = join(parts.stateDir, 'boot');
  if ((await readIfThere(path, disk))?.trim() === boot) return insist(() => adopt(host, alone), parts);
  await autostart(host, alone, (ms) => later(ms, parts));
  // Before it is noted a restart of the connector would start again what was stopped since.
  await insist(() => writeDurably(path, `${boot}\n`, 0o600, disk), parts);
}

/** Tries until it works. */
async function insist(work: () => Promise<void>, parts: ConnectorParts): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      parts.host.log('error', `what runs here could not be noted, and is tried again: ${messageOf(error)}`);
    }
    await later(NOTE_AGAIN_MS, parts);
  }
}

function later(ms: number, { world }: ConnectorParts): Promise<void> {
  return new Promise((resolve) => void world.schedule(ms, resolve));
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
