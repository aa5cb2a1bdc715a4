import { readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import { defaultDataDir, localFile } from '../client/settings.ts';
import { readIfThere } from '../files.ts';
import type { Io } from '../io.ts';
import type { Session } from '../session.ts';
import { VERSION } from '../version.ts';

const DEFAULT_LISTEN = '127.0.0.1:8443';
const LOG_LEVELS = ['info', 'error', 'silent'] as const;

interface Options {
  readonly listen: string;
  readonly url?: string;
  readonly log?: string;
}

/** `up`: a whole control plane in this process, until Ctrl-C. */
export function registerUp(program: Command, session: Session): void {
  program
    .command('up')
    .description('Run a control plane on this machine')
    .option('--listen <host:port>', 'address to listen on', DEFAULT_LISTEN)
    .option('--url <url>', 'where users and hosts reach it, when that is another address')
    .option('--log <level>', `${LOG_LEVELS.join(', ')} (default: error on a terminal, else info)`)
    .action(async (options: Options) => await up(session, options));
}

async function up(session: Session, { listen, url, log }: Options): Promise<void> {
  const { io } = session;
  const level = LOG_LEVELS.find((one) => one === (log ?? (io.stderr.isTTY ? 'error' : 'info')));
  if (!level)
    throw new FairleadError('bad_request', `Unknown log level "${log}": choose one of ${LOG_LEVELS.join(', ')}.`);
  const dataDir = session.dataDir ?? (io.env['FAIRLEAD_DATA'] || defaultDataDir(io));

  const [{ startEmbedded }, { controlPlane }, { createLog }, files] = await Promise.all([
    import('../../infra/embedded/up.ts'),
    import('../../infra/embedded/control-plane.ts'),
    import('../../infra/embedded/log.ts'),
    import('../../infra/embedded/durable-file.ts'),
  ]);
  const stopped = stopSignal(io);
  const running = await startEmbedded({
    listen,
    dataDir,
    publicUrl: url,
    log: createLog({ level, clock: io, write: (line) => io.stderr.write(line) }),
    version: VERSION,
    controlPlane,
  });
  const local = localFile(io);
  const client = readFileSync(running.clientFile, 'utf8');
  try {
    files.makePrivateDirectory(dirname(local));
    files.writePrivateFile(local, client);
    session.print(welcome(running, dataDir));
    await stopped;
    session.note('Stopping; containers go on. Ctrl-C again ends at once.');
  } finally {
    // Another "up" may have put its own there since.
    if (readIfThere(local) === client) rmSync(local, { force: true });
    await running.stop();
  }
}

function welcome({ url, fingerprint }: { url: string; fingerprint: string }, dataDir: string): string {
  return `Fairlead is ready at ${url} (certificate fingerprint ${fingerprint})
Its data is in ${dataDir}. Next, in another terminal:
  fairlead host token                          a token, with which a host can join
  fairlead image import FILE --alias NAME      an image to launch
  fairlead launch NAME c1                      a container
Ctrl-C stops it.
`;
}

/** Resolves at the first Ctrl-C or `systemctl stop`; the second one ends the process at once. */
function stopSignal(io: Io): Promise<void> {
  return new Promise((resolve) => {
    const offs = (['SIGINT', 'SIGTERM'] as const).map((name) =>
      io.onSignal(name, () => {
        // Nobody listening, Node ends at the next one.
        offs.forEach((off) => off());
        resolve();
      }),
    );
  });
}
