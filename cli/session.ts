import type { Operation } from '#shared/lxd/operation.ts';
import { agentFor } from './client/pinned.ts';
import { ControlPlane } from './client/http.ts';
import { findSettings, type Settings } from './client/settings.ts';
import { readIfThere } from './files.ts';
import { follow } from './follow.ts';
import type { Io } from './io.ts';
import { printable } from './output/printable.ts';

/** One run of the command: its surroundings, and the control plane once a verb asks for it. */
export class Session {
  readonly io: Io;
  /** `--data`, when given. */
  dataDir: string | undefined;
  /** What the process ends with when a verb did not throw: `exec` sets the code of its command. */
  exitCode = 0;
  #api: ControlPlane | undefined;

  constructor(io: Io) {
    this.io = io;
  }

  /** @throws FairleadError when no control plane is set up */
  get settings(): Settings {
    return findSettings(this.dataDir, { env: this.io.env, home: this.io.home, read: readIfThere });
  }

  get api(): ControlPlane {
    if (!this.#api) {
      const settings = this.settings;
      this.#api = new ControlPlane(settings, agentFor(settings.fingerprint));
    }
    return this.#api;
  }

  /** Text for the standard output, as it is. */
  print(text: string): void {
    this.io.stdout.write(text);
  }

  /** A line for people, not for pipes. It may hold what came from anywhere. */
  note(line: string): void {
    this.io.stderr.write(`${printable(line, 'keep lines')}\n`);
  }

  /**
   * Waits for an operation, with progress and Ctrl-C.
   * @throws FairleadError with the operation's sentence when it failed
   */
  async finish(operation: Operation): Promise<Operation> {
    return await follow(this, operation);
  }

  /** Leaves an operation to itself, with a line that says how to look after it (`--no-wait`). */
  leave({ id }: Operation): void {
    this.note(`It goes on as operation ${id}; look after it with: fairlead operation show ${id}`);
  }

  close(): void {
    this.#api?.close();
  }
}
