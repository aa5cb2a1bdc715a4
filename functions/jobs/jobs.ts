import { messageOf } from '#shared/errors.ts';

import { disconnectHost, type HostRecord } from '../domain/hosts/host.ts';
import { deliver } from '../domain/hosts/outbox.ts';
import { ingest } from '../domain/images/ingest.ts';
import { sweepUploads } from '../domain/images/upload.ts';
import { keys } from '../domain/keys.ts';
import { ended, type OperationRecord } from '../domain/operations/operation.ts';
import { expireOperation } from '../domain/operations/service.ts';
import { DEFAULT_PROJECT } from '../domain/events/lifecycle.ts';
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
      return forgetConnections(ports);
  }
}

/** A job that has not ended its operation by then is asked for again; it does nothing twice. */
const LOST_JOB_MS = 5 * 60_000;

/** Ends what is overdue, sends again what was not answered. Whatever else lost its effect is found here. */
async function sweep(ports: Ports): Promise<void> {
  const pages = await Promise.all(
    keys.operations(DEFAULT_PROJECT).map((pk) => queryAll<OperationRecord>(ports.records, pk)),
  );
  const running = pages.flat().filter(({ data }) => !ended(data));
  const now = ports.clock.now();
  for (const { data } of running.filter(({ data }) => data.deadline <= now)) {
    await attempt(ports, 'expire', () => expireOperation(ports, data.project, data.id));
  }
  for (const { data } of running.filter(({ data }) => data.job !== undefined && data.updatedAt + LOST_JOB_MS <= now)) {
    await attempt(ports, 'job', () =>
      ports.jobs.enqueue({ kind: 'ingest', project: data.project, operation: data.id }),
    );
  }
  const hosts = new Set(running.flatMap(({ data }) => (data.command === undefined ? [] : (data.host ?? []))));
  for (const host of hosts) await attempt(ports, 'deliver', () => deliver(ports, host));
  await attempt(ports, 'uploads', () => sweepUploads(ports));
}

/** One failure must not keep the sweep from the rest. */
async function attempt(ports: Ports, what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    ports.log.error('sweep failed', { what, error: messageOf(error) });
  }
}

async function forgetConnections(ports: Ports): Promise<void> {
  const pages = await Promise.all(keys.hosts().map((pk) => queryAll<HostRecord>(ports.records, pk)));
  for (const host of pages.flat()) if (host.data.connection !== undefined) await forgetConnection(ports, host);
}

async function forgetConnection(ports: Ports, host: Stored<HostRecord>): Promise<void> {
  try {
    await ports.records.transact([disconnectHost(host, ports.clock.now())]);
  } catch (error) {
    // It said hello meanwhile: then it has a living connection.
    if (!(error instanceof ConditionFailed)) throw error;
  }
}
