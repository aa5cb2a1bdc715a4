import * as z from 'zod';

import { hostName, instanceName } from '#shared/lxd/names.ts';

import { checkMove, getMove, listMoves, startMove } from '../../domain/moves/start.ts';
import type { Call, Route } from '../route.ts';

const rung = z.enum(['live', 'cold']);

const MovesPost = z.object({
  instance: instanceName,
  from: hostName.optional(),
  to: hostName,
  name: instanceName.optional(),
  /** Shorter than `allow`: with its memory, or without. */
  live: z.boolean().optional(),
  /** Left out: live if it runs, cold if it does not. */
  allow: z.array(rung).min(1).max(2).optional(),
  /** The source keeps its data for a day. */
  keep: z.boolean().default(true),
  /** Answer how it would go, and do nothing. */
  check: z.boolean().default(false),
});

export const moveRoutes: readonly Route[] = [
  { method: 'POST', path: '/1.0/fleet/moves', entitlement: 'edit', handle: move },
  {
    method: 'GET',
    path: '/1.0/fleet/moves',
    entitlement: 'view',
    handle: async ({ ports, project }) => ({ sync: await listMoves(ports, project) }),
  },
  {
    method: 'GET',
    path: '/1.0/fleet/moves/:id',
    entitlement: 'view',
    handle: async ({ ports, project, params }) => ({ sync: await getMove(ports, project, params['id'] ?? '') }),
  },
];

async function move({ ports, actor, project, body }: Call) {
  const {
    check,
    live,
    allow = live === undefined ? undefined : ([live ? 'live' : 'cold'] as const),
    ...rest
  } = body(MovesPost, 'move');
  const request = { ...rest, allow };
  if (check) return { sync: await checkMove(ports, project, request) };
  return { operation: await startMove(ports, actor, project, request) };
}
