import type { Operation } from '#shared/lxd/operation.ts';

import { printable } from './printable.ts';

/** A line of progress is shown from here on; quick things stay quiet. */
export const PROGRESS_AFTER_MS = 1000;

/**
 * One line of what an operation is doing: every `*_progress` text of its metadata with its name, else its description.
 * `create_instance_unpack_progress: "7%"` becomes `Create instance unpack: 7%`.
 */
export function progressText(operation: Operation): string {
  const steps = Object.entries(operation.metadata ?? {}).flatMap(([key, value]) =>
    key.endsWith('_progress') && typeof value === 'string' && value !== '' ? [`${label(key)}: ${value}`] : [],
  );
  return printable(steps.length > 0 ? steps.join(', ') : `${operation.description || 'Waiting'} (${operation.status})`);
}

function label(key: string): string {
  const words = key.slice(0, -'_progress'.length).replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The one line on a terminal that is written over again and again. Does nothing where nobody looks. */
export class ProgressLine {
  readonly #write: ((text: string) => void) | undefined;
  readonly #columns: () => number;
  #shown = '';

  /** `write` is undefined when the output is no terminal. */
  constructor(write: ((text: string) => void) | undefined, columns: () => number) {
    this.#write = write;
    this.#columns = columns;
  }

  show(text: string): void {
    const line = text.slice(0, Math.max(1, this.#columns() - 1));
    if (!this.#write || line === this.#shown) return;
    this.#write(`\r\u001b[K${line}`);
    this.#shown = line;
  }

  /** Leaves the line empty, for whoever writes next. */
  clear(): void {
    if (this.#shown !== '') this.#write?.('\r\u001b[K');
    this.#shown = '';
  }
}
