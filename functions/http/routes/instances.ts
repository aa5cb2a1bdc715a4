import { FairleadError } from '#shared/errors.ts';
import { InstanceExecPost } from '#shared/lxd/exec.ts';
import { InstancePatch, InstancePut, InstancesPost, InstanceStatePut } from '#shared/lxd/instance.ts';

import { changeState, deleteInstance, updateInstance } from '../../domain/instances/change.ts';
import { createInstance } from '../../domain/instances/create.ts';
import { execInstance } from '../../domain/instances/exec.ts';
import type { InstanceName } from '../../domain/instances/lookup.ts';
import { consoleLog, getInstance, getState, listInstances, type FleetInstance } from '../../domain/instances/read.ts';
import type { Call, Route } from '../route.ts';

export const instanceRoutes: readonly Route[] = [
  { method: 'GET', path: '/1.0/instances', entitlement: 'view', handle: list },
  { method: 'POST', path: '/1.0/instances', entitlement: 'edit', handle: create },
  { method: 'GET', path: '/1.0/instances/:name', entitlement: 'view', handle: get },
  { method: 'PUT', path: '/1.0/instances/:name', entitlement: 'edit', handle: put },
  { method: 'PATCH', path: '/1.0/instances/:name', entitlement: 'edit', handle: patch },
  {
    method: 'DELETE',
    path: '/1.0/instances/:name',
    entitlement: 'edit',
    handle: async (call) => ({ operation: await deleteInstance(call.ports, call.actor, named(call)) }),
  },
  {
    method: 'GET',
    path: '/1.0/instances/:name/state',
    entitlement: 'view',
    handle: async (call) => ({ sync: await getState(call.ports, named(call)) }),
  },
  {
    method: 'PUT',
    path: '/1.0/instances/:name/state',
    entitlement: 'operate',
    handle: async (call) => ({
      operation: await changeState(call.ports, call.actor, named(call), call.body(InstanceStatePut, 'state change')),
    }),
  },
  {
    method: 'POST',
    path: '/1.0/instances/:name/exec',
    entitlement: 'operate',
    handle: async (call) => ({
      operation: await execInstance(call.ports, call.actor, named(call), call.body(InstanceExecPost, 'exec request')),
    }),
  },
  {
    method: 'GET',
    path: '/1.0/instances/:name/console',
    entitlement: 'operate',
    handle: async (call) => ({ text: await consoleLog(call.ports, named(call)) }),
  },
];

function named({ params, project, target }: Call): InstanceName {
  return { project, name: params['name'] ?? '', target };
}

async function list({ ports, project, target, query }: Call) {
  const instances = await listInstances(ports, project, target);
  switch (query['recursion'] ?? '0') {
    case '0':
      return { sync: instances.map(({ name }) => `/1.0/instances/${name}`) };
    case '1':
      return { sync: instances.map(withoutState) };
    case '2':
      return { sync: instances };
    default:
      throw new FairleadError('bad_request', 'recursion is 0, 1 or 2');
  }
}

function withoutState({ state: _state, snapshots: _snapshots, backups: _backups, ...instance }: FleetInstance) {
  return instance;
}

async function create({ ports, actor, project, target, body }: Call) {
  const request = body(InstancesPost, 'instance');
  return { operation: await createInstance(ports, actor, project, target, request) };
}

async function get(call: Call) {
  const full = (call.query['recursion'] ?? '0') !== '0';
  const { instance, etag } = await getInstance(call.ports, named(call), { measure: full });
  return { sync: full ? instance : withoutState(instance), etag };
}

async function put(call: Call) {
  const request = call.body(InstancePut, 'instance');
  if (request.restore !== undefined && request.restore !== '') {
    throw new FairleadError(
      'bad_request',
      'Snapshots come with their own release; there is nothing to restore from yet.',
    );
  }
  return update(call, request, false);
}

function patch(call: Call) {
  return update(call, call.body(InstancePatch, 'instance'), true);
}

async function update(call: Call, request: InstancePut | InstancePatch, isPatch: boolean) {
  const how = { patch: isPatch, ifMatch: call.header('if-match') };
  return { operation: await updateInstance(call.ports, call.actor, named(call), request, how) };
}
