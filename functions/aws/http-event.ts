import type { HttpEvent } from '../ports/events.ts';

/** The one kind of name that may hold a slash, which arrives decoded. */
const ALIAS = /^(\/1\.0\/images\/aliases\/)(.+)$/;
/** What may stand in a path as it is; a percent sign before two hex digits already encodes. */
const UNSAFE = /%(?![0-9A-Fa-f]{2})|[^\w.~!$&'()*+,;=:@/%-]/gu;

/**
 * An HTTP API's event as the routes read it. The gateway decodes `rawPath`, so it is encoded again. It answers for the names of its own only,
 * and behind a front `host` is not the one the user wrote: there is no `host` to be checked.
 */
export function toHttpEvent(event: HttpEvent): HttpEvent {
  const { host: _host, ...headers } = event.headers;
  return { ...event, rawPath: encoded(event.rawPath), headers };
}

function encoded(path: string): string {
  const [, folder, name] = ALIAS.exec(path) ?? [];
  const whole = folder === undefined ? path : folder + (name ?? '').replaceAll('/', '%2F');
  return whole.toWellFormed().replaceAll(UNSAFE, encodeURIComponent);
}
