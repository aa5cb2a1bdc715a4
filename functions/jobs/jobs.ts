import { messageOf } from '#shared/errors.ts';

import { disconnectHost, type HostRecord } from '../domain/hosts/host.ts';
import { commandById, deliver, isTooLate } from '../domain/hosts/outbox.ts';
import { ingest } from '../domain/images/ingest.ts';
import { sweepUploads } from '../domain/images/upload.ts';
import { keys } from '../domain/keys.ts';
import { sweepMoves } from '../domain/moves/advance.ts';
import { ended, putOperation, type OperationRecord } from '../domain/operations/operation.ts';
import { expireOperation } from '../domain/operations/service.ts';
import { DEFAULT_PROJECT } from '../domain/projects.ts';
import type { Job } from '../ports/jobs.ts';
import type { Ports } from '../ports/ports.ts';
import { ConditionFailed, queryAll, type Stored } from '../ports/records.ts';

/** Work that time or an event asks for. Every job may be repeated. */
export function runJob(ports: Ports, job: Job): Promise<void> {
  switch (job.kind) {
    case 'ingest':
      return ingest(ports, job.project, job.operation);
    case 'sweep':
      return sweep(ports);
    case 'restarted':
      return restart(ports);
  }
}

/** A job of which nothing was heard for so long is lost: longer than a function may run. */
export const JOB_LOST_MS = 16 * 60_000;

/** Ends what is overdue, sends again what was not answered. Whatever else lost its effect is found here. */
async function sweep(ports: Ports): Promise<void> {
  const running = await runningOperations(ports);
  const now = ports.clock.now();
  for (const { data } of running) {
    await attempt(ports, 'expire', async () => {
      if (await isOverdue(ports, data, now)) await expireOperation(ports, data.project, data.id);
    });
  }
  const hosts = new Set(running.flatMap(({ data }) => (data.command === undefined ? [] : (data.host ?? []))));
  for (const host of hosts) await attempt(ports, 'deliver', () => deliver(ports, host));
  const lost = running.filter(({ data }) => data.deadline > now && data.updatedAt + JOB_LOST_MS <= now);
  for (const operation of lost) await attempt(ports, 'enqueue', () => enqueueAgain(ports, operation));
  await attempt(ports, 'moves', () => sweepMoves(ports, DEFAULT_PROJECT));
  await attempt(ports, 'uploads', () => sweepUploads(ports));
}

/** Past its deadline, or its command can never reach its host any more. */
async function isOverdue(ports: Ports, { deadline, command }: OperationRecord, now: number): Promise<boolean> {
  if (deadline <= now) return true;
  const found = command === undefined ? undefined : await commandById(ports, command);
  return found !== undefined && isTooLate(found.entry.data, now);
}

async function runningOperations(ports: Ports): Promise<Stored<OperationRecord>[]> {
  const partitions = keys.operations(DEFAULT_PROJECT);
  const pages = await Promise.all(partitions.map((pk) => queryAll<OperationRecord>(ports.records, pk)));
  return pages.flat().filter(({ data }) => !ended(data));
}

/** Noted first, so that the next sweep does not find it lost again. */
async function enqueueAgain(ports: Ports, { data, rev }: Stored<OperationRecord>): Promise<void> {
  if (data.job === undefined) return;
  await ports.records.transact([putOperation({ ...data, updatedAt: ports.clock.now() }, rev)]);
  await ports.jobs.enqueue({ kind: data.job, project: data.project, operation: data.id });
}

/** One failure must not keep the sweep from the rest. */
async function attempt(ports: Ports, what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    ports.log.error('a step of a job failed', { what, error: messageOf(error) });
  }
}

/** Nothing of before is left: no connection, and no job. */
async function restart(ports: Ports): Promise<void> {
  await forgetConnections(ports);
  for (const operation of await runningOperations(ports)) {
    await attempt(ports, 'enqueue', () => enqueueAgain(ports, operation));
  }
  // One may stand between prepared and committed, with its instance standing still.
  await attempt(ports, 'moves', () => sweepMoves(ports, DEFAULT_PROJECT));
}

/** Side by side, so that the store can put many into one commit: a fleet of thousands waits for this. */
const FORGOTTEN_AT_ONCE = 500;

async function forgetConnections(ports: Ports): Promise<void> {
  const pages = await Promise.all(keys.hosts().map((pk) => queryAll<HostRecord>(ports.records, pk)));
  const connected = pages.flat().filter(({ data }) => data.connection !== undefined);
  for (let at = 0; at < connected.length; at += FORGOTTEN_AT_ONCE) {
    await Promise.all(connected.slice(at, at + FORGOTTEN_AT_ONCE).map((host) => forgetConnection(ports, host)));
  }
}

async function forgetConnection(ports: Ports, host: Stored<HostRecord>): Promise<void> {
  try {
    await ports.records.transact([disconnectHost(host, ports.clock.now())]);
  } catch (error) {
    // It said hello meanwhile: then it has a living connection.
    if (!(error instanceof ConditionFailed)) throw error;
  }
}
