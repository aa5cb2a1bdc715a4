/** Shown at most this often. */
export const PROGRESS_EVERY_MS = 500;

/**
 * Turns byte counts into LXD's progress line, "Retrieving image: 42% (12.30MB/s)", seldom enough for a link.
 * @param now a monotonic clock, milliseconds
 */
export function downloadProgress(
  show: (text: string, percent: number) => void,
  now: () => number,
): (received: number, total: number) => void {
  const began = now();
  let shownAt = -Infinity;
  return (received, total) => {
    const at = now();
    if (at - shownAt < PROGRESS_EVERY_MS && received < total) return;
    shownAt = at;
    const percent = total > 0 ? Math.floor((100 * received) / total) : 100;
    const perSecond = received / Math.max(0.001, (at - began) / 1000);
    show(`Retrieving image: ${percent}% (${(perSecond / 1e6).toFixed(2)}MB/s)`, percent);
  };
}
