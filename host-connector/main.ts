import { hostname } from 'node:os';
import { text } from 'node:stream/consumers';
import { mkdir } from 'node:fs/promises';
import { Command } from 'commander';

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

interface Options {
  readonly stateDir: string;
}

/** The command line of the connector. @returns the exit code */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('fairlead-connector')
    .description('Makes this machine a host of a Fairlead fleet. It dials out; nothing dials in.')
    .version(CONNECTOR_VERSION)
    .showHelpAfterError();
  withState(program.command('join'))
    .description('join a fleet with a join token')
    .argument('<token>', 'the token, or - to read it from standard input')
    .option('--name <name>', 'the name of this host in the fleet', hostname().split('.')[0])
    .action(join);
  withState(program.command('run')).description('run the connector (systemd does)').action(runDaemon);
  withState(program.command('status'))
    .description('show what this host is and whether it is linked')
    .action(showStatus);
  withState(program.command('leave'))
    .description('leave the fleet: forget who this host is')
    .option('--force', 'even with instances here; they stay, unmanaged', false)
    .action(leave);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    process.stderr.write(`Error: ${messageOf(error)}\n`);
    if (!(error instanceof FairleadError) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  }
}

function withState(command: Command): Command {
  return command.option('--state-dir <folder>', 'where everything of this host is kept', DEFAULT_STATE_DIR);
}

async function join(token: string, { stateDir, name }: Options & { name: string }): Promise<void> {
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

async function leave({ stateDir, force }: Options & { force: boolean }): Promise<void> {
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
      ? `This host has left ${record.url}. Remove it there too: fairlead host delete ${record.name}`
      : 'This host belonged to no fleet.',
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
