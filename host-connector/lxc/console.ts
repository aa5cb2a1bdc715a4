/** The end of a container's console log, small enough to travel in one result. */
import { open } from 'node:fs/promises';
import { MAX_PAYLOAD_BYTES } from '#shared/link/limits.ts';
import { isMissing } from '../durable.ts';

/** liblxc empties the log when it reaches this. */
export const CONSOLE_LOG_BYTES = 1024 * 1024;
/** Room for the result around the text. */
const ENVELOPE_BYTES = 1000;

/** The last of what the container wrote to its console; '' when it wrote nothing or keeps no log. */
export async function readConsoleLog(path: string, maxJsonBytes = MAX_PAYLOAD_BYTES - ENVELOPE_BYTES): Promise<string> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxJsonBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return tailWithin(buffer.toString('utf8', 0, bytesRead), maxJsonBytes);
  } finally {
    await file.close();
  }
}

/**
 * The longest end of a text that is at most `maxJsonBytes` long as a JSON string, cut between characters. A control
 * character takes six bytes there, and a guest may write nothing else. Pure.
 */
export function tailWithin(text: string, maxJsonBytes: number): string {
  const characters = Array.from(text);
  let left = maxJsonBytes - 2;
  let from = characters.length;
  while (from > 0) {
    left -= Buffer.byteLength(JSON.stringify(characters[from - 1])) - 2;
    if (left < 0) break;
    from--;
  }
  return characters.slice(from).join('');
}
