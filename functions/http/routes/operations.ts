import type { Operation } from '#shared/lxd/operation.ts';

import {
  cancelOperation,
  getOperation,
  listOperations,
  MAX_WAIT_MS,
  waitForOperation,
} from '../../domain/operations/service.ts';
import type { Call, Route } from '../route.ts';

export const operationRoutes: readonly Route[] = [
  { method: 'GET', path: '/1.0/operations', entitlement: 'view', handle: list },
  {
    method: 'GET',
    path: '/1.0/operations/:id',
    entitlement: 'view',
    handle: async ({ ports, project, params }) => ({ sync: await getOperation(ports, project, params['id'] ?? '') }),
  },
  { method: 'GET', path: '/1.0/operations/:id/wait', entitlement: 'view', handle: wait },
  {
    method: 'DELETE',
    path: '/1.0/operations/:id',
    entitlement: 'operate',
    handle: async ({ ports, project, params }) => {
      await cancelOperation(ports, project, params['id'] ?? '');
      return { sync: {} };
    },
  },
];

/** By status, as LXD: `{running: [...], success: [...]}`. */
async function list({ ports, project, query }: Call) {
  const groups = Object.groupBy(await listOperations(ports, project), ({ status }) => status.toLowerCase());
  if (query['recursion'] === '1') return { sync: groups };
  const urls = Object.entries(groups).map(([status, operations]) => [status, operations?.map(urlOf)]);
  return { sync: Object.fromEntries(urls) as Record<string, string[]> };
}

function urlOf({ id }: Operation): string {
  return `/1.0/operations/${id}`;
}

/** `timeout` in seconds; absent or negative waits as long as one request may. */
async function wait({ ports, project, params, query }: Call) {
  const seconds = Number(query['timeout'] ?? -1);
  const timeout = Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : MAX_WAIT_MS;
  return { sync: await waitForOperation(ports, project, params['id'] ?? '', timeout) };
}
