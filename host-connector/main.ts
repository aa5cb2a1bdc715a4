import { hostname } from 'node:os';
import { text } from 'node:stream/consumers';
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { Roles } from './commands/roles.ts';
import { startDaemon } from './daemon.ts';
import { DEFAULT_STATE_DIR, hostPaths } from './host/paths.ts';
import { enrol } from './identity/enrol.ts';
import { forgetIdentity, loadRecord } from './identity/record.ts';
import { journalLog } from './log.ts';
import { LxcRuntime } from './lxc/runtime.ts';
import { ManagedBridge } from './network/bridge.ts';
import { run } from './process.ts';
import { readStatus } from './status.ts';
import { hostFacts } from './this-host.ts';
import { CONNECTOR_VERSION } from './version.ts';

const USAGE = `Makes this machine a host of a Fairlead fleet. It dials out; nothing dials in.

  fairlead-connector join TOKEN [--name NAME]   join a fleet; a TOKEN of - is read from standard input
  fairlead-connector run                        run the connector (systemd does)
  fairlead-connector status                     show what this host is and whether it is linked
  fairlead-connector leave [--force]            leave the fleet; with instances here only by --force
  fairlead-connector --version

  --state-dir FOLDER   where everything of this host is kept (default ${DEFAULT_STATE_DIR})
`;

/** node's own parser: a library for it would stay in the memory of the daemon. */
const OPTIONS = {
  'state-dir': { type: 'string', default: DEFAULT_STATE_DIR },
  name: { type: 'string', default: hostname().split('.')[0] ?? 'host' },
  force: { type: 'boolean', default: false },
  version: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

interface Options {
  readonly stateDir: string;
  readonly name: string;
  readonly force: boolean;
}

/** The command line of the connector. Sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const { values, positionals } = parse(argv);
    if (values.version) return say(CONNECTOR_VERSION);
    if (values.help) return say(USAGE);
    await dispatch(positionals, { stateDir: values['state-dir'], name: values.name, force: values.force });
  } catch (error) {
    process.stderr.write(`Error: ${messageOf(error)}\n`);
    if (!(error instanceof FairleadError) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    throw new FairleadError('bad_request', `${messageOf(cause)}\n\n${USAGE}`, { cause });
  }
}

function dispatch([verb, argument, ...rest]: readonly string[], options: Options): Promise<void> | void {
  const fits = rest.length === 0 && (verb === 'join') === (argument !== undefined);
  if (fits && verb === 'join' && argument !== undefined) return join(argument, options);
  if (fits && verb === 'run') return runDaemon(options);
  if (fits && verb === 'status') return showStatus(options);
  if (fits && verb === 'leave') return leave(options);
  throw new FairleadError('bad_request', `this is not how the connector is called\n\n${USAGE}`);
}

async function join(token: string, { stateDir, name }: Options): Promise<void> {
  const { stateDir: folder } = hostPaths(stateDir);
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const given = token === '-' ? await text(process.stdin) : token;
  const record = await enrol({ stateDir, token: given, name, facts: await hostFacts(stateDir) });
  say(`This host is "${record.name}" of ${record.url} now (id ${record.hostId}).`);
  say('Start its connector: systemctl enable --now fairlead-connector');
}

async function runDaemon({ stateDir }: Options): Promise<void> {
  const log = journalLog((line) => process.stderr.write(line));
  let ending = false;
  const end = async (code: number): Promise<void> => {
    if (ending) return;
    ending = true;
    await daemon.stop();
    process.exit(code);
  };
  const daemon = await startDaemon(stateDir, log, () => {
    log('error', 'no link for a long time; restarting the connector');
    void end(1);
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void end(0));
}

async function showStatus({ stateDir }: Options): Promise<void> {
  const paths = hostPaths(stateDir);
  const record = await loadRecord(stateDir);
  if (!record) return say('This host belongs to no fleet.');
  const [status, roles] = await Promise.all([readStatus(stateDir), Roles.open(paths)]);
  const running = await new LxcRuntime(paths, run).running();
  say(`host:      ${record.name} (${record.hostId})`);
  say(`fleet:     ${record.url}`);
  say(`connector: ${status ? `runs (pid ${status.pid}, version ${status.version})` : 'does not run'}`);
  const linked = status?.linkedSince;
  if (status) say(`link:      ${linked ? `since ${new Date(linked).toISOString()}` : (status.problem ?? 'not yet')}`);
  const instances = roles.all().sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  say(`instances: ${instances.length}`);
  for (const { spec } of instances)
    say(`  ${spec.name} (${spec.project}): ${running.has(spec.id) ? 'runs' : 'stopped'}`);
}

async function leave({ stateDir, force }: Options): Promise<void> {
  const paths = hostPaths(stateDir);
  const record = await loadRecord(stateDir).catch((error: unknown) => {
    if (force) return undefined;
    throw error;
  });
  const status = await readStatus(stateDir);
  if (status) {
    throw new FairleadError(
      'busy',
      `The connector runs (pid ${status.pid}). Stop it first: systemctl disable --now fairlead-connector`,
    );
  }
  const count = (await Roles.open(paths)).all().length;
  if (count > 0 && !force) {
    throw new FairleadError(
      'conflict',
      `This host holds ${count} instances. Move or delete them first, or leave with --force: they stay, unmanaged.`,
    );
  }
  if (count === 0) await new ManagedBridge(paths, run).teardown();
  await forgetIdentity(stateDir);
  say(
    record
      ? `This host has left ${record.url}. Remove it there too: fairlead host remove ${record.name}`
      : 'This host belonged to no fleet.',
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
