import type { Functions } from '../../../functions/functions.ts';
import type { Deployment } from '../../../functions/ports/ports.ts';
import type { ErrorData } from './error-data.ts';

/** What the gateway's thread and the thread of a function say to each other. */

/** What a thread is started with. */
export interface ThreadData {
  readonly programs: Programs;
  readonly deployment: Deployment;
}

export type Entry = keyof Functions;

/** For each entry a CommonJS text whose `open` is an {@link Open}; entries that share one share what is loaded, as in the cloud. */
export type Programs = Readonly<Record<Entry, string>>;

export type ToThread =
  | { readonly t: 'invoke'; readonly entry: Entry; readonly event: unknown }
  | { readonly t: 'answer'; readonly call: number; readonly outcome: Outcome };

export type FromThread =
  | { readonly t: 'ready' }
  /** The module graph is there and the handler begins. */
  | { readonly t: 'loaded' }
  | { readonly t: 'call'; readonly call: number; readonly door: string; readonly args: readonly unknown[] }
  /** A call that nobody waits for: a line of the log. */
  | { readonly t: 'note'; readonly door: string; readonly args: readonly unknown[] }
  /** The handler returned; `left` names what it did not wait for. */
  | { readonly t: 'done'; readonly outcome: Outcome; readonly left: readonly string[] };

export type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: ErrorData };

/** The way of a program to the outside. */
export interface Outside {
  readonly call: (door: string, args: readonly unknown[]) => Promise<Outcome>;
  readonly note: (door: string, args: readonly unknown[]) => void;
  readonly deployment: Deployment;
}

/** One program in a module graph of its own. Another one that keeps this shape (the entries of the cloud) runs in the same threads. */
export type Open = (outside: Outside) => (entry: Entry, event: unknown) => Promise<Outcome>;
