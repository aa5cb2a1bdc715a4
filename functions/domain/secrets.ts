import { createHash, timingSafeEqual } from 'node:crypto';

import type { Random } from '../ports/ports.ts';

/** Secrets are 256 bits, shown once, and stored as their SHA-256 only. */
const SECRET_BYTES = 32;

/** A new secret as 64 hex digits, the form LXD's clients expect. */
export function newSecret(random: Random): string {
  return Buffer.from(random.bytes(SECRET_BYTES)).toString('hex');
}

/** SHA-256 as lower-case hex. */
export function sha256(value: string | Uint8Array): string {
  return createHash('sha256').update(value).digest('hex');
}

/** Whether a secret is the one whose hash was stored; takes the same time either way. */
export function matches(secret: string, storedHash: string): boolean {
  const given = createHash('sha256').update(secret).digest();
  const stored = Buffer.from(storedHash, 'hex');
  return stored.length === given.length && timingSafeEqual(given, stored);
}
