import type { HostRecord } from '../hosts/host.ts';
import type { OutboxEntry } from '../hosts/outbox.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { ended, type OperationRecord } from '../operations/operation.ts';
import type { StreamRecord } from '../streams/tickets.ts';

/** Everything of the registry that hangs together, as it was read; nothing here is changed. */
export interface Registry {
  readonly hosts: readonly HostRecord[];
  readonly instances: readonly InstanceRecord[];
  readonly operations: readonly OperationRecord[];
  /** By host: what its index says it has, as `project#name` to instance id. */
  readonly places: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly outbox: readonly OutboxEntry[];
  readonly streams: readonly StreamRecord[];
}

/** One invariant that does not hold, and what to do about it. */
export interface Breach {
  readonly what: string;
  readonly todo: string;
}

/** An operation may be overdue until the sweep has seen it, twice. */
const SWEEP_GRACE_MS = 2 * 60_000;

const REPORT = 'This should not happen: please report it, with the log of the control plane of that time.';

/**
 * Pure: every invariant of the registry that does not hold (security.md §5: I5, and what each transaction promises). A change under way
 * while it was read can look like a breach: look again before you believe one.
 */
export function examine(registry: Registry, now: number): Breach[] {
  const running = new Map(registry.operations.filter((one) => !ended(one)).map((one) => [one.id, one]));
  return [
    ...registry.instances.flatMap((instance) => [...misplaced(instance, registry), ...heldByNobody(instance, running)]),
    ...strayPlaces(registry),
    ...registry.outbox.flatMap((entry) =>
      running.has(entry.operation)
        ? []
        : [
            {
              what: `A ${entry.command.kind} waits for a host, but its operation ${entry.operation} has ended`,
              todo: REPORT,
            },
          ],
    ),
    ...registry.streams.flatMap((stream) =>
      running.has(stream.operation)
        ? []
        : [{ what: `A terminal session is kept, but its operation ${stream.operation} has ended`, todo: REPORT }],
    ),
    ...[...running.values()].flatMap((operation) => overdue(operation, now)),
  ];
}

function misplaced({ id, name, project, host }: InstanceRecord, { hosts, places }: Registry): Breach[] {
  const known = hosts.find((one) => one.id === host);
  if (known === undefined) {
    return [{ what: `Instance ${name} is on a host that is not in the registry`, todo: REPORT }];
  }
  if (places.get(host)?.get(`${project}#${name}`) === id) return [];
  return [
    { what: `Instance ${name} is on host ${known.name}, but the index of that host does not have it`, todo: REPORT },
  ];
}

function heldByNobody({ name, task }: InstanceRecord, running: ReadonlyMap<string, unknown>): Breach[] {
  if (task === undefined || running.has(task.operation)) return [];
  return [
    { what: `Instance ${name} is held by a ${task.action} whose operation ${task.operation} has ended`, todo: REPORT },
  ];
}

function strayPlaces({ hosts, instances, places }: Registry): Breach[] {
  const known = new Set(instances.map(({ id }) => id));
  return [...places].flatMap(([host, names]) =>
    [...names]
      .filter(([, id]) => !known.has(id))
      .map(([place]) => ({
        what: `Host ${hosts.find(({ id }) => id === host)?.name ?? host} is listed with an instance ${place} that is not in the registry`,
        todo: REPORT,
      })),
  );
}

function overdue({ id, description, deadline }: OperationRecord, now: number): Breach[] {
  if (deadline + SWEEP_GRACE_MS > now) return [];
  return [
    {
      what: `"${description}" (operation ${id}) should have ended at ${new Date(deadline).toISOString()}`,
      todo: 'The sweep ends such operations: see in the log of the control plane why it does not.',
    },
  ];
}
