import type { Effect } from '../decide.ts';
import { DEFAULT_PROJECT } from '../projects.ts';
import { renderOperation, type OperationRecord } from '../operations/operation.ts';

type Publish = Extract<Effect, { do: 'publish' }>;

/** A host came, went, or changed. Hosts belong to the fleet, not to a project; their events go to the default one. */
export function hostEvent(action: string, name: string, now: number): Publish {
  return lifecycle({ action, source: `/1.0/fleet/hosts/${name}`, project: DEFAULT_PROJECT, location: name, now });
}

/** Something happened to an instance: `instance-started` and the like, LXD's names. */
export function instanceEvent(
  action: string,
  instance: { readonly name: string; readonly project: string },
  location: string,
  now: number,
  actor?: string,
): Publish {
  return lifecycle({
    action,
    source: `/1.0/instances/${instance.name}`,
    project: instance.project,
    location,
    now,
    ...(actor !== undefined && { actor }),
  });
}

/** An object of a project other than an instance was created, changed or deleted. */
export function objectEvent(action: string, source: string, project: string, now: number, actor: string): Publish {
  return lifecycle({ action, source, project, location: 'none', now, actor });
}

/** An operation as everybody may see it. */
export function operationEvent(operation: OperationRecord, location: string): Publish {
  return {
    do: 'publish',
    project: operation.project,
    event: {
      type: 'operation',
      timestamp: new Date(operation.updatedAt).toISOString(),
      metadata: renderOperation(operation, location),
      location,
      project: operation.project,
    },
  };
}

interface Occurrence {
  readonly action: string;
  readonly source: string;
  readonly project: string;
  readonly location: string;
  readonly now: number;
  readonly actor?: string;
}

function lifecycle({ action, source, project, location, now, actor }: Occurrence): Publish {
  return {
    do: 'publish',
    project,
    event: {
      type: 'lifecycle',
      timestamp: new Date(now).toISOString(),
      metadata: {
        action,
        source,
        project,
        ...(actor !== undefined && { requestor: { username: actor, protocol: 'bearer', address: '' } }),
      },
      location,
      project,
    },
  };
}
