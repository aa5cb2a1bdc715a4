import type { HostFacts } from '#shared/link/commands.ts';
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
