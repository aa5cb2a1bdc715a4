import { Command, CommanderError } from 'commander';

import { isFairleadError, messageOf } from '#shared/errors.ts';
import { registerConfig } from './commands/config.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerExec } from './commands/exec.ts';
import { registerHost } from './commands/host.ts';
import { registerImage } from './commands/image.ts';
import { registerInfo } from './commands/info.ts';
import { registerInstance } from './commands/instance.ts';
import { registerLaunch } from './commands/launch.ts';
import { registerList } from './commands/list.ts';
import { registerMonitor } from './commands/monitor.ts';
import { registerMove } from './commands/move.ts';
import { registerOperation } from './commands/operation.ts';
import { registerProfile } from './commands/profile.ts';
import { registerSite } from './commands/site.ts';
import { registerUp } from './commands/up.ts';
import { registerVersion } from './commands/version.ts';
import { processIo, type Io } from './io.ts';
import { Session } from './session.ts';
import { VERSION } from './version.ts';

/** Exit code of a command that the user interrupted (128 + SIGINT). */
const INTERRUPTED = 130;

const REGISTER = [
  registerUp,
  registerHost,
  registerSite,
  registerImage,
  registerLaunch,
  registerList,
  registerInfo,
  registerInstance,
  registerExec,
  registerMove,
  registerConfig,
  registerProfile,
  registerOperation,
  registerMonitor,
  registerDoctor,
  registerVersion,
];

/** Runs `fairlead` with these words in these surroundings and answers the exit code. Never throws for what a user did. */
export async function run(words: readonly string[], io: Io): Promise<number> {
  const session = new Session(io);
  try {
    await build(session).parseAsync(words, { from: 'user' });
    return session.exitCode;
  } catch (error) {
    // commander has printed its own message (or the help) by now.
    if (error instanceof CommanderError) return error.exitCode;
    session.note(`Error: ${messageOf(error)}`);
    if (!isFairleadError(error)) session.note(`This is a mistake in fairlead itself: ${stackOf(error)}`);
    return isFairleadError(error, 'cancelled') ? INTERRUPTED : 1;
  } finally {
    session.close();
  }
}

/** The process: runs, waits until everything is written, ends. */
export async function main(words: readonly string[]): Promise<void> {
  // The reader of a pipe went away (fairlead list | head -1): nobody is left to tell.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const code = await run(words, processIo());
  process.stdout.write('', () => process.exit(code));
}

function build(session: Session): Command {
  const program = new Command('fairlead')
    .description(
      'Linux system containers on hosts behind NAT. NAME is an instance of the fleet, HOST:NAME one of that host.',
    )
    .version(VERSION, '--version', 'show the version of this command')
    .usage('<command> [options]')
    .helpCommand(false)
    // Without this, options behind "exec c1 --" would be taken for fairlead's own.
    .enablePositionalOptions();
  for (const register of REGISTER) register(program, session);
  walk(program, (command) => {
    command
      .exitOverride()
      .enablePositionalOptions()
      .configureOutput({
        writeOut: (text) => session.print(text),
        writeErr: (text) => session.io.stderr.write(text),
        outputError: (text, write) => write(text.replace(/^error: /, 'Error: ')),
      })
      .showSuggestionAfterError()
      .option('--data <dir>', "the control plane's data directory (default: found, see README)")
      .hook('preAction', (_, acting) => {
        session.dataDir = acting.optsWithGlobals<{ data?: string }>().data;
      });
  });
  return program;
}

function walk(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) walk(child, visit);
}

function stackOf(error: unknown): string {
  return (error instanceof Error && error.stack) || String(error);
}
