import type { Command } from 'commander';

import { count, gather, parseInstance, parsePairs } from '../grammar.ts';
import type { Session } from '../session.ts';

interface Options {
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly user?: number;
  readonly group?: number;
  readonly forceInteractive?: boolean;
  readonly forceNoninteractive?: boolean;
  readonly disableStdin?: boolean;
}

/** `exec [host:]name -- command...`, and `shell` for a login shell. */
export function registerExec(program: Command, session: Session): void {
  common(program.command('exec').description('Run a command in an instance'))
    .argument('<name>', 'NAME or HOST:NAME')
    .argument('<command...>', 'put -- in front when it has options')
    .addHelpText('after', '\nExamples:\n  fairlead exec c1 -- ls -l /\n  fairlead exec foo:c1 bash')
    .action(async (name: string, command: string[], options: Options) => await run(session, name, command, options));
  common(program.command('shell').description('Open a login shell in an instance'))
    .argument('<name>', 'NAME or HOST:NAME')
    .action(async (name: string, options: Options) => await run(session, name, ['su', '-l'], options));
}

function common(command: Command): Command {
  return command
    .option('--env <key=value>', 'environment; may be repeated', gather)
    .option('--cwd <dir>', 'directory to run it in')
    .option('--user <uid>', 'user id to run it as (default: 0)', count)
    .option('--group <gid>', 'group id to run it as (default: 0)', count)
    .option('-t, --force-interactive', 'with a terminal')
    .option('-T, --force-noninteractive', 'without a terminal')
    .option('-n, --disable-stdin', 'without standard input');
}

async function run(session: Session, name: string, command: string[], options: Options): Promise<void> {
  const { io } = session;
  const both = io.stdin.isTTY === true && io.stdout.isTTY === true;
  const interactive = options.forceInteractive ?? (options.forceNoninteractive ? false : both);
  const { execute } = await import('../exec.ts');
  session.exitCode = await execute(session, {
    target: parseInstance(name),
    command,
    environment: { ...(interactive && { TERM: io.env['TERM'] ?? 'dumb' }), ...parsePairs(options.env ?? []) },
    cwd: options.cwd ?? '',
    user: options.user ?? 0,
    group: options.group ?? 0,
    interactive,
    stdin: !options.disableStdin,
  });
  if (session.exitCode === 127) session.note('Error: Command not found');
  if (session.exitCode === 126) session.note('Error: Command not executable');
}
