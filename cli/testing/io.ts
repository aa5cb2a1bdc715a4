import { PassThrough } from 'node:stream';

import type { Io, Terminal } from '../io.ts';
import { run } from '../main.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Surroundings under a test's control: streams in memory, a clock that stands at `now`, signals by {@link FakeIo.signal}. */
export class FakeIo implements Io {
  readonly stdin: PassThrough & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown } = new PassThrough();
  readonly stdout: Terminal & PassThrough = new PassThrough();
  readonly stderr: Terminal & PassThrough = new PassThrough();
  readonly env: Record<string, string>;
  readonly home: string;
  time = Date.parse('2026-11-20T20:00:00Z');
  readonly #listeners = new Map<string, Set<() => void>>();
  #out = '';
  #err = '';

  constructor(env: Record<string, string> = {}, home = '/nonexistent') {
    this.env = env;
    this.home = home;
    this.stdout.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    this.stderr.on('data', (chunk: Buffer) => (this.#err += chunk.toString()));
  }

  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  now(): number {
    return this.time;
  }

  random(): number {
    return 0;
  }

  async sleep(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  onSignal(name: NodeJS.Signals, listener: () => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Sends a signal; true when somebody listened. */
  signal(name: NodeJS.Signals): boolean {
    const listeners = [...(this.#listeners.get(name) ?? [])];
    listeners.forEach((listener) => listener());
    return listeners.length > 0;
  }
}

/** Runs the command as a user would, in these surroundings. */
export async function fairlead(io: FakeIo, ...words: string[]): Promise<Ran> {
  const code = await run(words, io);
  await new Promise((resolve) => setImmediate(resolve));
  return { code, stdout: io.out, stderr: io.err };
}
