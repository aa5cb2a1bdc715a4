import { PassThrough, Writable } from 'node:stream';

import type { Session } from '../../host-connector/lxc/attach.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

/** What somebody runs inside an instance: says something, echoes what it reads, and exits when its input ends. */
export class Program {
  readonly session: Session;
  /** All it read, and all it wrote. */
  read = '';
  wrote = '';
  readonly code: number;
  readonly #run: Run;
  readonly #process: Mortal;
  readonly #stdout = new PassThrough();
  readonly #exited = Promise.withResolvers<number>();
  #over = false;

  constructor(run: Run, process: Mortal, greeting: string) {
    this.#run = run;
    this.#process = process;
    this.code = run.chance.between(0, 3);
    const stdin = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.read += chunk.toString('latin1');
        run.timeline.after(
          run.chance.between(1, 30),
          () => {
            this.#write(chunk.toString('latin1').toUpperCase());
            done();
          },
          process,
        );
      },
      final: (done) => {
        run.timeline.after(run.chance.between(1, 50), () => this.end(this.code), process);
        done();
      },
    });
    this.session = {
      stdin,
      stdout: this.#stdout,
      stderr: undefined,
      resize: () => {},
      signal: async () => {
        run.timeline.after(5, () => this.end(129), process);
        return true;
      },
      kill: () => this.end(137),
      exited: this.#exited.promise,
    };
    run.timeline.after(1, () => this.#write(greeting), process);
  }

  /** It exits, or its instance does. */
  end(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#run.trace(() => `  a program exits with ${code}`);
    this.#stdout.end();
    this.#run.timeline.after(1, () => this.#exited.resolve(code), this.#process);
  }

  #write(text: string): void {
    if (this.#over) return;
    this.wrote += text;
    this.#stdout.write(Buffer.from(text, 'latin1'));
  }
}
