import * as z from 'zod';

import { hostFacts } from '#shared/link/commands.ts';
import { hostName, siteName } from '#shared/lxd/names.ts';
import { parse } from '#shared/lxd/parse.ts';

import { examineRegistry } from '../../domain/doctor/service.ts';
import { enrol } from '../../domain/hosts/enrol.ts';
import {
  createJoinToken,
  deleteJoinToken,
  JOIN_TOKEN_MAX_TTL_S,
  JOIN_TOKEN_TTL_S,
  listJoinTokens,
} from '../../domain/hosts/join-tokens.ts';
import { issueNonce } from '../../domain/hosts/proof.ts';
import { changeHost, getHost, listHosts, listSites, removeHost } from '../../domain/hosts/service.ts';
import type { Route } from '../route.ts';

const labels = z
  .record(z.string().regex(/^[a-zA-Z0-9._/-]{1,63}$/), z.string().max(255))
  .refine((map) => Object.keys(map).length <= 64);

const JoinTokenPost = z.object({
  site: siteName.default('default'),
  labels: labels.default({}),
  /** Seconds. */
  ttl: z.int().min(1).max(JOIN_TOKEN_MAX_TTL_S).default(JOIN_TOKEN_TTL_S),
  name: hostName.optional(),
});

const HostPatch = z.object({ name: hostName.optional(), site: siteName.optional(), labels: labels.optional() });

const EnrolPost = z.object({
  token: z.string().max(64),
  secret: z.string().max(128),
  name: hostName,
  key: z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string().max(64) }),
  proof: z.string().max(4096),
  facts: hostFacts,
});

export const fleetRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/1.0/fleet/hosts',
    entitlement: 'view',
    handle: async ({ ports }) => ({ sync: await listHosts(ports) }),
  },
  {
    method: 'GET',
    path: '/1.0/fleet/hosts/:name',
    entitlement: 'view',
    handle: async ({ ports, params }) => ({ sync: await getHost(ports, params['name'] ?? '') }),
  },
  {
    method: 'PATCH',
    path: '/1.0/fleet/hosts/:name',
    entitlement: 'manage-fleet',
    handle: async ({ ports, params, body }) => {
      await changeHost(ports, params['name'] ?? '', body(HostPatch, 'host'));
      return { sync: {} };
    },
  },
  {
    method: 'DELETE',
    path: '/1.0/fleet/hosts/:name',
    entitlement: 'manage-fleet',
    handle: async ({ ports, params, query }) => {
      await removeHost(ports, params['name'] ?? '', query['force'] === '1');
      return { sync: {} };
    },
  },
  {
    method: 'GET',
    path: '/1.0/fleet/sites',
    entitlement: 'view',
    handle: async ({ ports }) => ({ sync: await listSites(ports) }),
  },
  {
    method: 'POST',
    path: '/1.0/fleet/join-tokens',
    entitlement: 'manage-fleet',
    handle: async ({ ports, actor, body }) => {
      const { name, ...request } = body(JoinTokenPost, 'join token');
      const token = await createJoinToken(ports, actor, { ...request, ...(name !== undefined && { name }) });
      return { sync: token, created: `/1.0/fleet/join-tokens/${token.id}` };
    },
  },
  {
    method: 'GET',
    path: '/1.0/fleet/join-tokens',
    entitlement: 'manage-fleet',
    handle: async ({ ports }) => ({ sync: await listJoinTokens(ports) }),
  },
  {
    method: 'DELETE',
    path: '/1.0/fleet/join-tokens/:id',
    entitlement: 'manage-fleet',
    handle: async ({ ports, params }) => {
      await deleteJoinToken(ports, params['id'] ?? '');
      return { sync: {} };
    },
  },
  {
    method: 'GET',
    path: '/1.0/fleet/doctor',
    entitlement: 'manage-fleet',
    handle: async ({ ports }) => ({ sync: await examineRegistry(ports) }),
  },
  // Hosts have no account: a token's secret, or a signature over the nonce, is what they show.
  {
    method: 'POST',
    path: '/1.0/fleet/enroll',
    entitlement: 'public',
    handle: async ({ ports, body }) => ({ sync: await enrol(ports, body(EnrolPost, 'enrolment')) }),
  },
  {
    method: 'POST',
    path: '/1.0/fleet/hosts/:id/nonce',
    entitlement: 'public',
    handle: async ({ ports, params }) => ({ sync: await issueNonce(ports, parse(z.uuid(), params['id'], 'host id')) }),
  },
];
