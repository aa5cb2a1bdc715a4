import { FairleadError, messageOf } from '#shared/errors.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { url, type ControlPlane } from './client/http.ts';
import { succeeded, untilFinal } from './client/operations.ts';
import type { Io } from './io.ts';
import { PROGRESS_AFTER_MS, ProgressLine, progressText } from './output/progress.ts';

interface Follower {
  readonly io: Io;
  readonly api: ControlPlane;
  note(line: string): void;
}

/**
 * Waits for an operation in front of a user: a line of progress where somebody looks, and Ctrl-C, which asks once to cancel and the
 * second time stops waiting.
 * @throws FairleadError with the operation's sentence when it failed; `cancelled` when the user stopped waiting
 */
export async function follow(follower: Follower, operation: Operation): Promise<Operation> {
  const { io, api } = follower;
  const line = new ProgressLine(
    io.stderr.isTTY ? (text) => io.stderr.write(text) : undefined,
    () => io.stderr.columns || 80,
  );
  const started = io.now();
  const watch = (current: Operation) => {
    if (io.now() - started >= PROGRESS_AFTER_MS) line.show(progressText(current));
  };
  const leaving = Promise.withResolvers<never>();
  let interrupts = 0;
  const off = io.onSignal('SIGINT', () => {
    interrupts += 1;
    line.clear();
    if (interrupts === 1) void askToCancel(follower, operation);
    else leaving.reject(left(operation));
  });
  try {
    const final = untilFinal(operation, {
      api,
      sleep: (ms) => io.sleep(ms),
      watch: io.stderr.isTTY ? watch : undefined,
    });
    // Whoever loses the race ends with the process.
    final.catch(() => undefined);
    return succeeded(await Promise.race([final, leaving.promise]));
  } finally {
    off();
    line.clear();
  }
}

async function askToCancel(follower: Follower, operation: Operation): Promise<void> {
  if (!operation.may_cancel) {
    follower.note(`"${operation.description}" can not be cancelled and goes on. Ctrl-C again stops waiting for it.`);
    return;
  }
  follower.note(`Cancelling "${operation.description}"; Ctrl-C again stops waiting for it.`);
  try {
    await follower.api.send('DELETE', url`/1.0/operations/${operation.id}`);
  } catch (error) {
    follower.note(`It could not be cancelled: ${messageOf(error)}`);
  }
}

function left({ id }: Operation): FairleadError {
  return new FairleadError('cancelled', `Stopped waiting. Look after it with: fairlead operation show ${id}`);
}
