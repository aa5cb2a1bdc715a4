/** What the connector says to the journal of systemd, which adds the time. */
export type LogLevel = 'info' | 'warn' | 'error';
export type Log = (level: LogLevel, message: string) => void;

/** Priorities of sd-daemon(3). */
const PRIORITY: Readonly<Record<LogLevel, number>> = { info: 6, warn: 4, error: 3 };

/** Writes one line a message, with the priority systemd reads. Line breaks in a message (a guest may have caused it) become spaces. */
export function journalLog(write: (line: string) => void): Log {
  return (level, message) => write(`<${PRIORITY[level]}>${message.replaceAll(/[\p{Cc}]+/gu, ' ')}\n`);
}
