import { FairleadError } from '#shared/errors.ts';
import type { Sessions } from '../streams/sessions.ts';
import type { Executor } from './executor.ts';

/** Runs a command inside an instance, its streams bound to a client's; ends when the command and its output have ended. */
export const execThrough =
  (sessions: Sessions): Executor<'exec'> =>
  async (command, { line, signal }, host) => {
    const { spec } = host.roles.require(command.id);
    const status = await host.containers.status(command.id);
    if (status !== 'Running') {
      throw new FairleadError(
        'wrong_state',
        `The instance "${spec.name}" is ${status.toLowerCase()}, so nothing can run in it. Start it first.`,
      );
    }
    if (!(await host.policy()).exec) {
      throw new FairleadError(
        'forbidden_by_host',
        'The policy of this host does not allow running commands in its instances.',
      );
    }
    const code = await sessions.run({ id: command.stream, ticket: command.ticket, line, signal }, () =>
      host.containers.attach(spec, command),
    );
    return { seq: host.observer.next(), result: { kind: 'exited', code } };
  };
