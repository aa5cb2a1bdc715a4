import { FairleadError, isFairleadError, messageOf } from '#shared/errors.ts';
import { READ_ONLY, type HostCommand } from '#shared/link/commands.ts';
import { toWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import type { LinkLine } from '../link/connection.ts';
import type { Pump } from '../link/pump.ts';
import type { Spool } from '../link/spool.ts';
import type { Asks } from './asks.ts';
import type { Context, Done, Executor, Executors } from './executor.ts';
import type { Host } from './host.ts';
import type { Journal, Outcome } from './journal.ts';
import { Lane, Serial } from './lanes.ts';

/** Commands that change instances, at a time and waiting. */
export const MAX_WORK = 8;
export const MAX_WORK_WAITING = 512;
/** Read-only commands, likewise. */
export const MAX_LOOKS = 16;
export const MAX_LOOKS_WAITING = 256;
/** Refused commands remembered while the disk is too full to write them down. */
const MAX_REFUSED = 1024;
/** Commands run inside instances at a time. */
export const MAX_SESSIONS = 64;

export type CommandFrame = Extract<DownFrame, { t: 'cmd' }>;

export interface DispatchParts {
  readonly host: Host;
  readonly journal: Journal;
  readonly spool: Spool;
  readonly pump: Pick<Pump, 'more'>;
  readonly asks: Asks;
  readonly executors: Executors;
  /** Sends on the line that serves now, if any. */
  readonly send: (frame: UpFrame) => void;
  /** The control plane's clock, milliseconds since 1970: command expiry is its word. */
  readonly cloudNow: () => number;
}

/**
 * Runs commands so that each acts at most once, however often it comes: looked up in the journal, begun there before it acts, its outcome
 * kept there and in the spool. One instance has one command at a time; sessions and looks do not queue behind them.
 */
export class Dispatcher {
  readonly #parts: DispatchParts;
  readonly #running = new Map<string, AbortController>();
  /** Refused commands that a full disk kept out of the journal. */
  readonly #refused = new Map<string, Outcome>();
  readonly #serial = new Serial();
  readonly #work = new Lane(MAX_WORK, MAX_WORK_WAITING);
  readonly #looks = new Lane(MAX_LOOKS, MAX_LOOKS_WAITING);
  readonly #sessions = new Lane(MAX_SESSIONS, 0);

  constructor(parts: DispatchParts) {
    this.#parts = parts;
  }

  /** Commands that change something, under way or waiting. */
  get load(): number {
    return this.#work.load;
  }

  /** Takes a command. Whatever happens becomes its result; rejects only when the journal cannot be written. */
  async command(frame: CommandFrame, line: LinkLine): Promise<void> {
    const { id, cmd } = frame;
    if (this.#running.has(id)) return;
    if (READ_ONLY.has(cmd.kind)) return this.#look(frame, line);
    const known = this.#known(id);
    if (known === 'begun') return this.#tell(id, this.#failed(unkept(cmd)));
    if (known) return this.#tell(id, known);
    if (frame.expires <= this.#parts.cloudNow()) return this.#tell(id, this.#failed(expired(cmd)));
    const stop = new AbortController();
    this.#running.set(id, stop);
    try {
      this.#tell(id, await this.#place(cmd, () => this.#act(frame, line, stop.signal)));
    } catch (error) {
      // A queue that is full, or a disk: the command did not act.
      this.#tell(id, this.#refuse(id, this.#failed(error)));
    } finally {
      this.#running.delete(id);
    }
  }

  /** Asks a command to stop; it ends with its own result. One that has not come yet ends here, and will not act when it comes. */
  cancel(id: string): void {
    const cancelled = new FairleadError('cancelled', 'The operation was cancelled.');
    const running = this.#running.get(id);
    if (running) return running.abort(cancelled);
    const known = this.#known(id);
    // What a crash left behind is settled before anything is taken in.
    if (known === 'begun') return;
    this.#tell(id, known ?? this.#refuse(id, this.#failed(cancelled)));
  }

  /** Asks all commands to stop, because the connector does. What they leave undone is settled at the next start. */
  stop(): void {
    for (const running of this.#running.values()) {
      running.abort(new FairleadError('unavailable', 'The connector of this host was stopped. Try again.'));
    }
  }

  /** Runs something of the connector's own on an instance, between its commands. */
  alone<T>(instance: string, task: () => Promise<T>): Promise<T> {
    return this.#serial.run(instance, task);
  }

  #known(id: string): Outcome | 'begun' | undefined {
    return this.#parts.journal.lookup(id) ?? this.#refused.get(id);
  }

  /** Makes the refusal of a command final: it will not act when it comes again, after others that were given since. */
  #refuse(id: string, outcome: Outcome): Outcome {
    if (this.#known(id)) return outcome;
    try {
      this.#parts.journal.refuse(id, outcome);
    } catch (error) {
      if (!isFairleadError(error, 'disk_full')) throw error;
      const [oldest] = this.#refused.keys();
      if (oldest !== undefined && this.#refused.size >= MAX_REFUSED) this.#refused.delete(oldest);
      this.#refused.set(id, outcome);
    }
    return outcome;
  }

  /** Where a command has to queue. */
  #place<T>(cmd: HostCommand, task: () => Promise<T>): Promise<T> {
    if (cmd.kind === 'exec') return this.#sessions.run(task);
    return this.#serial.run(instanceOf(cmd), () => this.#work.run(task));
  }

  async #act(frame: CommandFrame, line: LinkLine, signal: AbortSignal): Promise<Outcome> {
    const { id, cmd } = frame;
    if (signal.aborted) return this.#refuse(id, this.#failed(signal.reason));
    this.#parts.journal.begin(id, cmd);
    const outcome = await this.#outcome(frame, line, signal);
    try {
      this.#parts.journal.finish(id, outcome);
    } catch (error) {
      if (!isFairleadError(error, 'disk_full')) throw error;
      this.#parts.host.log('error', `the outcome of command ${id} is told, but the disk is too full to keep it`);
    }
    return outcome;
  }

  async #look(frame: CommandFrame, line: LinkLine): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await this.#looks.run(() => this.#outcome(frame, line, new AbortController().signal));
    } catch (error) {
      outcome = this.#failed(error);
    }
    this.#parts.send(this.#parts.spool.passing(frame.id, outcome));
  }

  async #outcome({ id, cmd }: CommandFrame, line: LinkLine, signal: AbortSignal): Promise<Outcome> {
    const context: Context = {
      id,
      signal,
      line,
      progress: (text, percent) =>
        this.#parts.send({ t: 'progress', id, text, ...(percent !== undefined && { percent }) }),
      locate: (fingerprint) => this.#parts.asks.locate(id, fingerprint, signal),
      urls: (move, attempt, until) => this.#parts.asks.urls(move, attempt, until),
      announce: (chunk) => this.#parts.send({ t: 'chunk', ...chunk }),
    };
    try {
      const { seq, result } = await this.#execute(cmd, context);
      return { ok: true, seq, result };
    } catch (error) {
      return this.#failed(error);
    }
  }

  #execute(cmd: HostCommand, context: Context): Promise<Done> {
    // The table has for each kind an executor of that kind; the compiler cannot follow the pair.
    const execute = this.#parts.executors[cmd.kind] as Executor<HostCommand['kind']>;
    return execute(cmd, context, this.#parts.host);
  }

  #failed(error: unknown): Outcome {
    if (!(error instanceof FairleadError)) {
      const stack = error instanceof Error ? error.stack : undefined;
      this.#parts.host.log('error', `a command failed in an unexpected way: ${stack ?? messageOf(error)}`);
    }
    const known = error instanceof FairleadError ? error : new FairleadError('host_failed', messageOf(error));
    return { ok: false, seq: this.#parts.host.observer.next(), error: toWire(known) };
  }

  /** Keeps an outcome until the edge has it. On a full disk it is told without being kept: the edge asks again if it is lost. */
  #tell(id: string, outcome: Outcome): void {
    const { spool, pump, send } = this.#parts;
    try {
      spool.result(id, outcome);
    } catch (error) {
      if (!isFairleadError(error, 'disk_full')) throw error;
      return send(spool.passing(id, outcome));
    }
    pump.more();
  }
}

function instanceOf(cmd: HostCommand): string {
  if ('instance' in cmd) return cmd.instance.id;
  return 'id' in cmd ? cmd.id : 'host';
}

function unkept(cmd: HostCommand): FairleadError {
  return new FairleadError(
    'disk_full',
    `The ${cmd.kind} ended, but the disk of this host was too full to keep its outcome. Look at the instance before you try again.`,
  );
}

function expired(cmd: HostCommand): FairleadError {
  return new FairleadError(
    'timed_out',
    `The ${cmd.kind} reached this host after it had expired, so nothing was done. Try again.`,
  );
}
