import type { HostRecord } from '../../functions/domain/hosts/host.ts';
import type { InstanceRecord } from '../../functions/domain/instances/instance.ts';
import { ended, type OperationRecord } from '../../functions/domain/operations/operation.ts';
import type { Edge } from './edge.ts';
import type { Machine } from './machine.ts';
import type { Run } from './run.ts';

/** What must hold once nothing went wrong for a while: all is done, nothing is left over, and the registry knows what the hosts hold. */
export function checkQuiet(run: Run, edge: Edge, machines: readonly Machine[], unsure: ReadonlySet<string>): void {
  const { store } = edge;
  const fails = (rule: string) => (what: string) => run.violated(rule, what);
  store
    .all<OperationRecord>('OPERATIONS#')
    .filter(({ data }) => !ended(data))
    .forEach(({ data }) => fails('I5 every operation ends')(`${data.id} (${data.description}) has not`));
  const instances = store.all<InstanceRecord>('INSTANCES#').map(({ data }) => data);
  instances
    .filter(({ task }) => task)
    .forEach(({ id }) => fails('I5 no lock outlives its operation')(`${id} is locked`));
  const now = edge.wallClock;
  for (const kind of ['COMMAND#', 'STREAM#', 'CLIENT#']) {
    store
      .all(kind)
      .filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now)
      .forEach(({ pk }) => fails('I5 nothing is left over')(pk));
  }
  store.all('HOST#').forEach(({ pk, sk }) => fails('I5 the outbox is empty')(`${pk} ${sk}`));
  for (const machine of machines)
    checkHost(
      run,
      edge,
      machine,
      instances.filter(({ host }) => host === machine.id),
      unsure,
    );
}

function checkHost(
  run: Run,
  edge: Edge,
  machine: Machine,
  known: readonly InstanceRecord[],
  unsure: ReadonlySet<string>,
): void {
  const { name, machinery, db, disk } = machine;
  const fails = (rule: string, what: string) => run.violated(rule, `${name}: ${what}`);
  const record = edge.store.all<HostRecord>('HOSTS#').find(({ data }) => data.id === machine.id)?.data;
  if (!edge.gateway.isOpen(record?.connection)) {
    fails(
      'I5 a host that can be reached is connected',
      `${record?.status}, since ${record?.since}, connection ${record?.connection}`,
    );
  }
  const roles = machine.process.host?.roles.all() ?? [];
  for (const { id, name: instance, status, config } of known) {
    const role = roles.find(({ spec }) => spec.id === id);
    const place = `${instance} (${id})`;
    // The host lost it and said so; the registry shows that.
    if (!role && status !== 'Error') fails('the registry is true', `${place} is not there, but shown as ${status}`);
    if (!role) continue;
    if (!role.ready) fails('nothing is half made', `${place} is still being made`);
    if (machinery.status(id) !== status)
      fails('the registry is true', `${place} is ${machinery.status(id)}, shown as ${status}`);
    if (!unsure.has(id) && role.spec.config['user.rev'] !== config['user.rev']) {
      fails(
        'the registry is true',
        `${place} has revision ${role.spec.config['user.rev']}, shown as ${config['user.rev']}`,
      );
    }
    const runs = machinery.status(id) !== 'Stopped';
    // One that could not be started after the boot is tried again after the next.
    const untried = machinery.containers.get(id)?.boot !== machinery.boot;
    if (role.power !== (runs ? 'on' : 'off') && (runs || !untried)) {
      fails('a host comes back as it was', `${place} ${runs ? 'runs' : 'is stopped'}, its role says ${role.power}`);
    }
  }
  for (const { spec } of roles) {
    if (!known.some(({ id }) => id === spec.id))
      fails('no orphans', `${spec.name} (${spec.id}) is unknown to the registry`);
    if (!machinery.disks.has(spec.id))
      fails('nothing is half made', `${spec.name} (${spec.id}) has no root filesystem`);
  }
  const held = new Set(roles.map(({ spec }) => spec.id));
  for (const id of machinery.disks)
    if (!held.has(id)) fails('nothing is half made', `a root filesystem is left of ${id}`);
  for (const path of disk.paths) {
    const id = /^\/state\/instances\/([^/]+)$/.exec(path)?.[1];
    if (id !== undefined && !held.has(id)) fails('nothing is half made', `${path} is left`);
  }
  const left = (table: string) => Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n']);
  if (left('spool') > 0) fails('I5 the spool is empty', `${left('spool')} frames were never acknowledged`);
  // What a full disk kept from being written down was told all the same; the next start settles it.
  if (!machinery.wasFull && left('command WHERE outcome IS NULL') > 0)
    fails('I5 every command ends', 'the journal has unfinished ones');
}
