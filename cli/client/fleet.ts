import type { HostFacts } from '#shared/link/commands.ts';
import type { Blocker } from '#shared/link/moves.ts';
import type { InstanceFull } from '#shared/lxd/instance.ts';

/** The fleet's own objects, as `/1.0/fleet/…` answers them. Times are ISO 8601. */
export interface Host {
  readonly id: string;
  readonly name: string;
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly status: 'online' | 'offline' | 'revoked' | 'quarantined';
  /** Of the last change of `status`. */
  readonly since: string;
  readonly facts: HostFacts | null;
  readonly enrolledAt: string;
}

export interface Site {
  readonly name: string;
  readonly hosts: number;
}

/** A join token as it is listed: without its secret. */
export interface JoinToken {
  readonly id: string;
  readonly expires_at: string;
  readonly site?: string | null;
  readonly name?: string | null;
}

export interface NewJoinToken extends JoinToken {
  readonly token: string;
}

/** An instance, with how fresh the registry's knowledge of it is. */
export type FleetInstance = InstanceFull & { readonly fleet?: { readonly as_of: string; readonly online: boolean } };

/** A move, as `/1.0/fleet/moves` lists it. Sizes in bytes. */
export interface Move {
  readonly id: string;
  readonly instance: string;
  /** Its name on the target. */
  readonly name: string;
  readonly source: string;
  readonly target: string;
  readonly live: boolean;
  readonly state: string;
  readonly created_at: string;
  readonly bytes: number;
  readonly downtime_ms: number | null;
  readonly kept_until: string | null;
}

/** How a move would go; without a `rung` it would not. */
export interface MovePreflight {
  readonly rung?: 'live' | 'cold';
  readonly running: boolean;
  readonly disk: number;
  readonly memory: number;
  readonly blockers: readonly Blocker[];
}
