import type { KeyObject } from 'node:crypto';

import type { Jobs } from './jobs.ts';
import type { Links } from './links.ts';
import type { Objects } from './objects.ts';
import type { Records } from './records.ts';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  sleep(ms: number): Promise<void>;
}

export interface Random {
  uuid(): string;
  /** Cryptographically strong. */
  bytes(length: number): Uint8Array;
}

/** One JSON line a call; values are redacted by the adapter. */
export interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** What one deployment is told. */
export interface Deployment {
  /** Where users and hosts reach it: the only source of absolute URLs. */
  readonly publicUrl: string;
  /** Where websockets are opened when that is not at `publicUrl` (shared/link/address.ts). */
  readonly linkUrl?: string;
  /** The records are a backup as of then (ms): the secrets that hosts got since are not in it. */
  readonly restoredAt?: number;
  /** SHA-256 (hex) of the TLS certificate when it is self-signed, to be pinned by hosts. */
  readonly certificateFingerprint?: string;
  /** PEM of the TLS certificate, shown in `GET /1.0`. */
  readonly certificate?: string;
  /** 32 bytes: seals the tickets of streams. */
  readonly ticketKey: KeyObject;
  readonly version: string;
}

/** The only doors of `domain` to the outside. */
export interface Ports {
  readonly records: Records;
  readonly objects: Objects;
  readonly links: Links;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly deployment: Deployment;
}
