import type { Clock, Log } from './ports.ts';
import { redact, redactText } from './redact.ts';

/** What is written: `info` everything, `error` only failures. */
export type LogLevel = 'info' | 'error' | 'silent';

export interface LogOptions {
  readonly level?: LogLevel;
  readonly clock: Pick<Clock, 'now'>;
  /** Takes one line, with its newline. */
  readonly write: (line: string) => void;
}

/** Control characters that JSON leaves as they are (DEL, C1), line separators, and those that turn the direction of text in a terminal. */
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** A log of one JSON line a call: `time`, `level`, `message` and the fields; secrets hidden, nothing that moves a terminal. */
export function createLog({ level = 'info', clock, write }: LogOptions): Log {
  const line = (kind: 'info' | 'error', message: string, fields: Readonly<Record<string, unknown>> = {}) => {
    const head = { time: new Date(clock.now()).toISOString(), level: kind, message: redactText(message) };
    // The head twice: it comes first, and no field takes its place.
    write(`${escape(JSON.stringify({ ...head, ...(redact(fields) as object), ...head }))}\n`);
  };
  return {
    info: (message, fields) => {
      if (level === 'info') line('info', message, fields);
    },
    error: (message, fields) => {
      if (level !== 'silent') line('error', message, fields);
    },
  };
}

function escape(json: string): string {
  return json.replaceAll(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
