import { constants } from 'node:os';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { closedError, type Channel, type ChannelListener } from '#shared/link/channel.ts';
import { decodeHostControl, encodeControl, ERRORS, OUTPUT, TO_HOST, type ClientControl } from '#shared/link/session.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { isFinal } from '#shared/lxd/status.ts';
import { url } from './client/http.ts';
import { Link } from './client/link.ts';
import { succeeded } from './client/operations.ts';
import { instancePath, targetQuery } from './commands/instances.ts';
import { pump, type Pump } from './exec-input.ts';
import type { Target } from './grammar.ts';
import type { Io, Terminal } from './io.ts';
import type { Session } from './session.ts';

/** What a user may send to a command without a terminal: its own signals go there. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
/** So many Ctrl-C that nothing answers, and we leave. */
const MAX_UNANSWERED = 3;

export interface Execution {
  readonly target: Target;
  readonly command: readonly string[];
  readonly environment: Record<string, string>;
  readonly cwd: string;
  readonly user: number;
  readonly group: number;
  /** With a terminal: raw keys go there, its size is kept. */
  readonly interactive: boolean;
  readonly stdin: boolean;
}

/**
 * Runs a command in an instance, with this process' standard streams as its own, and answers its exit code.
 * @throws FairleadError when it could not be started, or the session was lost
 */
export async function execute(session: Session, execution: Execution): Promise<number> {
  const { api, io } = session;
  const { target, command, environment, cwd, user, group, interactive } = execution;
  const { columns = 0, rows = 0 } = interactive ? io.stdout : {};
  const size = { width: columns, height: rows };
  const body = { command, environment, cwd, user, group, interactive, ...size, 'wait-for-websocket': true };
  const [operation] = await Promise.all([
    api.start('POST', instancePath(target, '/exec'), { query: targetQuery(target), body }),
    // Known by the time the link is dialled.
    api.linkUrl(),
  ]);
  const link = new Link(api, { now: () => performance.now(), random: () => io.random(), schedule });
  const ending = new Ending(io);
  try {
    const channel = await link.attach(operation.id, secretsOf(operation), ending.listener);
    const release = connect(io, channel, execution, ending);
    try {
      const code = await ending.code;
      release();
      await ending.farewell(channel);
      return code;
    } catch (error) {
      release();
      channel.reset('left', 'the client has gone');
      throw error;
    }
  } catch (error) {
    throw await betterReason(session, operation, error);
  } finally {
    await link.close();
  }
}

/** So long each last word behind the exit code may take: the host's comes in the same breath, its answer to ours after one round trip. */
const FAREWELL_MS = 1000;

/** The host's side of a session as it comes: output to the streams, then the exit code. */
class Ending {
  readonly code: Promise<number>;
  input: Pump | undefined;
  readonly #out: Sink;
  readonly #err: Sink;
  readonly #settle: { resolve: (code: Promise<number>) => void; reject: (error: unknown) => void };
  readonly #finished = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  #written: Promise<unknown> = Promise.resolve();

  constructor(io: Io) {
    this.#out = new Sink(io.stdout);
    this.#err = new Sink(io.stderr);
    const { promise, ...settle } = Promise.withResolvers<number>();
    this.code = promise;
    this.#settle = settle;
    // It may fail before anybody waits for it.
    promise.catch(() => undefined);
  }

  get listener(): ChannelListener {
    return {
      data: (channel, bytes) => {
        if (bytes.length === 0 || (channel !== OUTPUT && channel !== ERRORS)) return undefined;
        const written = (channel === OUTPUT ? this.#out : this.#err).write(bytes);
        if (written) this.#written = Promise.all([this.#written, written]);
        return written;
      },
      control: (bytes) => {
        const { exit } = decodeHostControl(bytes);
        // All output came before; what still waits for a slow reader is waited for.
        this.#settle.resolve(this.#written.then(() => exit));
      },
      finished: () => this.#finished.resolve(),
      writable: () => this.input?.more(),
      closed: (code, msg) => {
        const silent = code === 'done';
        this.#settle.reject(
          silent ? new FairleadError('protocol', 'The session ended without an exit code.') : closedError(code, msg),
        );
        this.#finished.resolve();
        this.#closed.resolve();
      },
    };
  }

  /** Ends the stream so that both ends know of it: the host reports the command's end as soon as it need not wait for us. */
  async farewell(channel: Channel): Promise<void> {
    await within(FAREWELL_MS, this.#finished);
    channel.finish();
    await within(FAREWELL_MS, this.#closed);
  }

  abandon(): void {
    this.#settle.reject(new FairleadError('cancelled', 'Left; the command in the instance is hung up.'));
  }
}

/** Waits for a promise, but not for ever. */
async function within(ms: number, { promise, resolve }: PromiseWithResolvers<void>): Promise<void> {
  const cancel = schedule(ms, resolve);
  await promise;
  cancel();
}

/** Ties the terminal or the signals of this process to the channel; answers what unties them. */
function connect(io: Io, channel: Channel, { interactive, stdin }: Execution, ending: Ending): () => void {
  const control = (message: ClientControl) => {
    if (channel.isOpen) channel.control(encodeControl(message), true);
  };
  const input = stdin ? pump(io.stdin, channel) : undefined;
  ending.input = input;
  if (!stdin) channel.write(TO_HOST, new Uint8Array(), true);
  const undo = interactive ? terminal(io, control) : signals(io, control, ending);
  return () => {
    undo();
    input?.stop();
  };
}

function terminal(io: Io, control: (message: ClientControl) => void): () => void {
  const resized = () => {
    const { columns: width = 0, rows: height = 0 } = io.stdout;
    if (width > 0 && height > 0) control({ command: 'window-resize', args: { width, height } });
  };
  io.stdin.setRawMode?.(true);
  io.stdout.on('resize', resized);
  return () => {
    io.stdin.setRawMode?.(false);
    io.stdout.removeListener('resize', resized);
  };
}

function signals(io: Io, control: (message: ClientControl) => void, ending: Ending): () => void {
  let unanswered = 0;
  const undo = FORWARDED.map((name) =>
    io.onSignal(name, () => {
      control({ command: 'signal', signal: constants.signals[name] });
      if (name === 'SIGINT') unanswered += 1;
      if (unanswered >= MAX_UNANSWERED) ending.abandon();
    }),
  );
  return () => undo.forEach((off) => off());
}

/** One output of this process. A full pipe holds the host back until its reader took enough. */
class Sink {
  readonly #stream: Terminal;
  #drained: Promise<void> | undefined;

  constructor(stream: Terminal) {
    this.#stream = stream;
  }

  /** What to wait for before more is sent; undefined when there is room. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#stream.write(bytes)) return undefined;
    this.#drained ??= new Promise((resolve) => {
      this.#stream.once('drain', () => {
        this.#drained = undefined;
        resolve();
      });
    });
    return this.#drained;
  }
}

function secretsOf({ metadata }: Operation): Record<string, string> {
  const fds = metadata?.['fds'];
  if (typeof fds === 'object' && fds !== null) return fds as Record<string, string>;
  throw new FairleadError('protocol', 'The server started the command but sent nothing to attach with.');
}

/** When a session fails, the operation often knows why. */
async function betterReason(session: Session, { id }: Operation, error: unknown): Promise<unknown> {
  if (isFairleadError(error, 'cancelled')) return error;
  try {
    const now = await session.api.get<Operation>(url`/1.0/operations/${id}`);
    if (!isFinal(now.status_code)) return error;
    const code = succeeded(now).metadata?.['return'];
    return new FairleadError(
      'unavailable',
      `The connection was gone for too long: the command ended with exit code ${String(code)}, but the last of its output is lost.`,
    );
  } catch (reason) {
    return isFairleadError(reason, 'host_failed') || isFairleadError(reason, 'cancelled') ? reason : error;
  }
}

function schedule(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, ms);
  return () => clearTimeout(timer);
}
