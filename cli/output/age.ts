import { NEVER } from '#shared/lxd/status.ts';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const UNIX_ZERO = '1970-01-01T00:00:00Z';

/** True for a time that says something: LXD writes Go's and Unix' zero for "never". */
export function isSet(time: string | undefined): time is string {
  return time !== undefined && time !== '' && time !== NEVER && time !== UNIX_ZERO && !Number.isNaN(Date.parse(time));
}

/** `2026/11/20 18:03 UTC`, in the user's time zone; '' for never. */
export function dateTime(time: string | undefined): string {
  if (!isSet(time)) return '';
  const date = new Date(time);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('/');
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())} ${zone(date)}`;
}

/** `Nov 20, 2026 at 6:03pm (UTC)`, as lxc prints the dates of images; '' for never. */
export function longDate(time: string | undefined): string {
  if (!isSet(time)) return '';
  const date = new Date(time);
  const hour = date.getHours() % 12 || 12;
  const half = date.getHours() < 12 ? 'am' : 'pm';
  const clock = `${hour}:${two(date.getMinutes())}${half} (${zone(date)})`;
  return `${MONTHS[date.getMonth()]} ${date.getDate()}, ${date.getFullYear()} at ${clock}`;
}

/** `12s`, `5m`, `3h`, `2d`: how long a time is ago, for people; whole units, rounded down. */
export function age(since: string | undefined, now: number): string {
  if (!isSet(since)) return '';
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

function zone(date: Date): string {
  if (date.getTimezoneOffset() === 0) return 'UTC';
  const parts = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(date);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? '';
}
