import { randomBytes, randomUUID } from 'node:crypto';

import type { Random } from '../../functions/ports/ports.ts';

/** The machine's cryptographically strong randomness. */
export const systemRandom: Random = { uuid: () => randomUUID(), bytes: (length) => randomBytes(length) };
