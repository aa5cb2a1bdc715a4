import { FairleadError, messageOf } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import { toWire } from '#shared/link/frames.ts';
import type { Spool } from '../link/spool.ts';
import { undoCreate } from './create.ts';
import { remove } from './delete.ts';
import { told, type Context, type Done } from './executor.ts';
import type { Host } from './host.ts';
import type { Journal, Outcome, Unfinished } from './journal.ts';
import { NO_MOVES, type MoveExecutors } from './moves/executors.ts';

/**
 * At start, before the link: settles what a crash interrupted. Half-made instances are removed, all other unfinished commands are answered
 * by what is true now. Containers that run are left alone.
 */
export async function reconcile(
  host: Host,
  journal: Journal,
  spool: Spool,
  moves: MoveExecutors = NO_MOVES,
): Promise<void> {
  for (const unfinished of journal.unfinished()) {
    const outcome = await settle(unfinished, host, moves);
    journal.finish(unfinished.id, outcome);
    spool.result(unfinished.id, outcome);
    host.log(
      'info',
      `settled ${unfinished.command.kind} ${unfinished.id} after a restart: ${outcome.ok ? 'done' : outcome.error.message}`,
    );
  }
  await clearHalfMade(host, (_id, task) => task());
}

/** Removes what is left of instances that were not made to the end. @param alone runs a task between the commands for an instance */
export async function clearHalfMade(
  host: Host,
  alone: (id: string, task: () => Promise<void>) => Promise<void>,
): Promise<void> {
  for (const { spec } of host.roles.all().filter(({ ready }) => !ready)) {
    await alone(spec.id, async () => {
      // It may have been finished, or removed, by the command before.
      const role = host.roles.find(spec.id);
      if (role?.ready === false) await undoCreate(role, host);
    });
  }
}

async function settle({ command }: Unfinished, host: Host, moves: MoveExecutors): Promise<Outcome> {
  try {
    return { ok: true, ...(await conclude(command, host, moves)) };
  } catch (error) {
    const known = error instanceof FairleadError ? error : new FairleadError('host_failed', messageOf(error));
    return { ok: false, seq: host.observer.next(), error: toWire(known) };
  }
}

async function conclude(command: HostCommand, host: Host, moves: MoveExecutors): Promise<Done> {
  switch (command.kind) {
    case 'create': {
      const role = host.roles.find(command.instance.id);
      // Made to the end, only not told: it may run already.
      if (role?.ready) return told(await host.observer.observe(role));
      if (role) await undoCreate(role, host);
      throw interrupted(
        `creating "${command.instance.name}"`,
        'What was made of it has been removed; create it again.',
      );
    }
    case 'delete':
      // Deleting goes on where it ended.
      return remove(command, NO_CONTEXT, host);
    case 'update': {
      const role = host.roles.require(command.instance.id, command.instance.epoch);
      if (JSON.stringify(role.spec) !== JSON.stringify(command.instance)) {
        throw interrupted(`changing "${role.spec.name}"`, 'Nothing was changed; try again.');
      }
      return told(await host.observer.observe(role));
    }
    case 'state': {
      const role = host.roles.require(command.id, command.epoch);
      const status = await host.containers.status(command.id);
      if (status === AFTER[command.action]) {
        await host.roles.power(command.id, status === 'Stopped' ? 'off' : 'on');
        return told(await host.observer.observe(role));
      }
      throw interrupted(
        `it had to ${command.action} "${role.spec.name}"`,
        `It is ${status.toLowerCase()} now; try again.`,
      );
    }
    case 'exec':
    case 'measure':
    case 'console-log':
    case 'facts':
    case 'check-source':
    case 'check-target':
    case 'send':
    case 'park':
    case 'receive':
    case 'prepare':
      throw interrupted(`this ${command.kind} ran`, 'Its outcome is unknown.');
    // Both ways of ending a move need no link, and go on where they ended.
    case 'unpark':
      return moves.unpark(command, NO_CONTEXT, host);
    case 'retire':
      return moves.retire(command, NO_CONTEXT, host);
    case 'forget':
      return moves.forget(command, NO_CONTEXT, host);
    case 'adopt':
      return moves.adopt(command, NO_CONTEXT, host);
    case 'discard':
      return moves.discard(command, NO_CONTEXT, host);
  }
}

/** The state that shows that an action was done. A restart shows nothing: it began in the state it ends in. */
const AFTER = { start: 'Running', stop: 'Stopped', freeze: 'Frozen', unfreeze: 'Running', restart: undefined } as const;

/** Deleting and ending a move tell no progress and need no link. */
const NO_CONTEXT = {} as Context;

function interrupted(what: string, next: string): FairleadError {
  return new FairleadError('host_failed', `The connector of this host restarted while ${what}. ${next}`);
}

/**
 * Notes which instances run, after nobody looked for a while in the same boot: those that stopped stay off after the next one.
 * @param alone runs a task between the commands for an instance
 */
export async function adopt(
  host: Host,
  alone: (id: string, task: () => Promise<void>) => Promise<void>,
): Promise<void> {
  for (const { spec } of host.roles.all()) {
    await alone(spec.id, async () => {
      // LXC does not answer for what is parked, and a move remembers whether it ran.
      if (host.roles.find(spec.id)?.role !== 'owner') return;
      await host.roles.power(spec.id, (await host.containers.status(spec.id)) === 'Stopped' ? 'off' : 'on');
    });
  }
}
