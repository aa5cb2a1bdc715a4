import type { Context } from '../executor.ts';
import { PROGRESS_EVERY_MS } from '../progress.ts';

/** Shows bytes that went, "Sending files: 12.30MB (5.20MB/s)", seldom enough for a link. @param now a monotonic clock, milliseconds */
export function transferProgress(
  what: string,
  context: Pick<Context, 'progress'>,
  now: () => number,
): (bytes: number) => void {
  const began = now();
  let shownAt = -Infinity;
  return (bytes) => {
    const at = now();
    if (at - shownAt < PROGRESS_EVERY_MS) return;
    shownAt = at;
    const perSecond = bytes / Math.max(0.001, (at - began) / 1000);
    context.progress(`${what}: ${(bytes / 1e6).toFixed(2)}MB (${(perSecond / 1e6).toFixed(2)}MB/s)`);
  };
}
