import * as z from 'zod';

import { hostName } from '#shared/lxd/names.ts';

import { ROLES } from '../../domain/trust/actor.ts';
import {
  createApiToken,
  createUser,
  deleteApiToken,
  deleteUser,
  listUsers,
  MAX_TOKEN_DAYS,
  TOKEN_DAYS,
} from '../../domain/trust/users.ts';
import type { Route } from '../route.ts';

const UserPost = z.object({ name: hostName, role: z.enum(ROLES) });
const TokenPost = z.object({
  description: z.string().max(255).default(''),
  days: z.int().min(1).max(MAX_TOKEN_DAYS).default(TOKEN_DAYS),
});

export const trustRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/1.0/fleet/users',
    entitlement: 'manage-fleet',
    handle: async ({ ports }) => ({ sync: await listUsers(ports) }),
  },
  {
    method: 'POST',
    path: '/1.0/fleet/users',
    entitlement: 'manage-fleet',
    handle: async ({ ports, actor, body }) => {
      const { name, role } = body(UserPost, 'user');
      await createUser(ports, actor, name, role);
      return { sync: {}, created: `/1.0/fleet/users/${name}` };
    },
  },
  {
    method: 'DELETE',
    path: '/1.0/fleet/users/:name',
    entitlement: 'manage-fleet',
    handle: async ({ ports, actor, params }) => {
      await deleteUser(ports, actor, params['name'] ?? '');
      return { sync: {} };
    },
  },
  {
    method: 'POST',
    path: '/1.0/fleet/users/:name/tokens',
    entitlement: 'view',
    handle: async ({ ports, actor, params, body }) => ({
      sync: await createApiToken(ports, actor, params['name'] ?? '', body(TokenPost, 'API token')),
    }),
  },
  {
    method: 'DELETE',
    path: '/1.0/fleet/users/:name/tokens/:id',
    entitlement: 'view',
    handle: async ({ ports, actor, params }) => {
      await deleteApiToken(ports, actor, params['name'] ?? '', params['id'] ?? '');
      return { sync: {} };
    },
  },
];
