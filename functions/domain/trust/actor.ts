/** Who asks: an authenticated user, or nobody. */
export interface Actor {
  readonly user: string;
  readonly role: Role;
  /** Source address, for audit and events. */
  readonly address: string;
}

export const ROLES = ['viewer', 'operator', 'admin', 'fleet-admin'] as const;
export type Role = (typeof ROLES)[number];

/**
 * What a route asks for. `public` routes answer anybody and decide for themselves what an unknown caller may see;
 * the others name the weakest role that may call them.
 */
export type Entitlement = 'public' | 'view' | 'operate' | 'edit' | 'manage-fleet';

const NEEDS: Readonly<Record<Exclude<Entitlement, 'public'>, Role>> = {
  view: 'viewer',
  operate: 'operator',
  edit: 'admin',
  'manage-fleet': 'fleet-admin',
};

/** Whether a role covers an entitlement; each role has the rights of those before it. */
export function allows(role: Role | undefined, entitlement: Entitlement): boolean {
  if (entitlement === 'public') return true;
  return role !== undefined && ROLES.indexOf(role) >= ROLES.indexOf(NEEDS[entitlement]);
}
