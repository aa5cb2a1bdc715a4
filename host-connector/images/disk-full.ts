/** A full disk shows itself as an error code in our own writes and as words of tar and cp; a user sees one error for all. */
import { FairleadError } from '#shared/errors.ts';

/** The error for the user when `error` came from a full disk or quota, else undefined. */
export function diskFull(error: unknown): FairleadError | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT' ? noRoom(error) : undefined;
}

/** Whether a program's last words are about a full disk. tar says "Wrote only 512 of 10240 bytes" when it notices it late. */
export function saysDiskFull(stderr: string): boolean {
  return /No space left|quota exceeded|Wrote only \d+ of/i.test(stderr);
}

/** The error for the user. */
export function noRoom(cause?: unknown): FairleadError {
  return new FairleadError(
    'disk_full',
    'The host has no room left for the image; nothing of it was kept. Free space, then try again.',
    { cause },
  );
}
