import type { Command } from 'commander';

import { FairleadError } from '#shared/errors.ts';
import type { StateAction } from '#shared/lxd/instance.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { STATUS } from '#shared/lxd/status.ts';
import { count, parseInstance, type Target } from '../grammar.ts';
import type { Session } from '../session.ts';
import { getInstance, instancePath, onEach, targetQuery } from './instances.ts';

interface StateOptions {
  /** False: leave the operation as soon as it was begun. */
  readonly wait: boolean;
  readonly force?: boolean;
  /** Seconds. */
  readonly timeout?: number;
}

/** start, stop, restart, pause, resume and delete. */
export function registerInstance(program: Command, session: Session): void {
  const verb = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .argument('<name...>', 'NAME or HOST:NAME')
      .option('--no-wait', 'do not wait until it is done');
  const stopping = (command: Command) =>
    command
      .option('-f, --force', 'cut the power instead of asking the instance to stop')
      .option('--timeout <seconds>', 'how long it may take to stop by itself', count);

  verb('start', 'Start instances').action(async (names: string[], options: StateOptions) => {
    await onEach(session, names, async (name) => await startOne(session, parseInstance(name), options));
  });
  stopping(verb('stop', 'Stop instances')).action(async (names: string[], options: StateOptions) => {
    await onEach(session, names, async (name) => await change(session, parseInstance(name), 'stop', options));
  });
  stopping(verb('restart', 'Restart instances')).action(async (names: string[], options: StateOptions) => {
    await onEach(session, names, async (name) => await change(session, parseInstance(name), 'restart', options));
  });
  verb('pause', 'Freeze instances: their processes stand still')
    .alias('freeze')
    .action(async (names: string[], options: StateOptions) => {
      await onEach(session, names, async (name) => await change(session, parseInstance(name), 'freeze', options));
    });
  verb('resume', 'Let frozen instances go on')
    .alias('unfreeze')
    .action(async (names: string[], options: StateOptions) => {
      await onEach(session, names, async (name) => await change(session, parseInstance(name), 'unfreeze', options));
    });
  verb('delete', 'Delete instances')
    .alias('rm')
    .option('-f, --force', 'stop them first if they run')
    .action(async (names: string[], options: StateOptions) => {
      await onEach(session, names, async (name) => await remove(session, parseInstance(name), options));
    });
}

/** As lxc: starting a frozen instance lets it go on. */
async function startOne(session: Session, target: Target, options: StateOptions): Promise<void> {
  const { metadata } = await getInstance(session.api, target);
  await change(session, target, metadata.status_code === STATUS.frozen ? 'unfreeze' : 'start', options);
}

async function change(
  session: Session,
  target: Target,
  action: StateAction,
  { force = false, timeout = -1, wait }: StateOptions,
): Promise<void> {
  const body = { action, timeout, force, stateful: false };
  const query = targetQuery(target);
  await finishOrLeave(session, await session.api.start('PUT', instancePath(target, '/state'), { query, body }), wait);
}

async function finishOrLeave(session: Session, operation: Operation, wait: boolean): Promise<void> {
  if (wait) await session.finish(operation);
  else session.leave(operation);
}

/** What runs is stopped first, and that is waited for: an instance has one intent at a time. */
async function remove(session: Session, target: Target, { force, wait }: StateOptions): Promise<void> {
  const { metadata } = await getInstance(session.api, target);
  const alive = metadata.status_code === STATUS.running || metadata.status_code === STATUS.frozen;
  if (alive && !force)
    throw new FairleadError('wrong_state', 'The instance is currently running, stop it first or pass --force');
  if (alive) await change(session, target, 'stop', { force: true, wait: true });
  // An ephemeral instance is gone as soon as it stopped.
  if (alive && metadata.ephemeral) return;
  const query = targetQuery(target);
  await finishOrLeave(session, await session.api.start('DELETE', instancePath(target), { query }), wait);
}
