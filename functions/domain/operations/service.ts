import { FairleadError } from '#shared/errors.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import { REPEAT_MIN_MS } from '#shared/link/limits.ts';
import { STATUS } from '#shared/lxd/status.ts';

import type { Ports } from '../../ports/ports.ts';
import { live, queryAll, type Stored } from '../../ports/records.ts';
import { decide, nothing, type Decision } from '../decide.ts';
import { perform } from '../effects.ts';
import { operationEvent } from '../events/lifecycle.ts';
import { hostById, offlineSince, online, type HostRecord } from '../hosts/host.ts';
import { commandById, deliverCommand, dequeueCommand, recallCommand, type OutboxEntry } from '../hosts/outbox.ts';
import { instanceAfterAbandon } from '../instances/outcome.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { keys } from '../keys.ts';
import { abortMove } from '../moves/advance.ts';
import { forgetStream, tellOver } from '../streams/attach.ts';
import type { StreamRecord } from '../streams/tickets.ts';
import { ended, endOperation, putOperation, renderOperation, type OperationRecord } from './operation.ts';

/** The longest a single wait may hold a request; a gateway cuts at 29 s. The caller asks again. */
export const MAX_WAIT_MS = 25_000;
/** Between two looks: an eighth of the time waited so far, so that no wait takes much longer than what it waits for. */
const POLL_SHARE = 1 / 8;
const POLL_MIN_MS = 4;
const POLL_MAX_MS = 250;

/** An operation with its host's name and, while that host is away, the reason nothing happens. @throws FairleadError `not_found`. */
export async function getOperation(ports: Ports, project: string, id: string): Promise<Operation> {
  const { data } = await load(ports, project, id);
  const host = data.host === undefined ? undefined : await hostById(ports.records, data.host);
  return render(data, host?.data);
}

async function load(ports: Ports, project: string, id: string): Promise<Stored<OperationRecord>> {
  const stored = live(await ports.records.get<OperationRecord>(keys.operation(project, id)), ports.clock.now());
  if (stored === undefined)
    throw new FairleadError('not_found', `Operation "${id}" not found: it never was, or ended over an hour ago.`);
  return stored;
}

function render(operation: OperationRecord, host: HostRecord | undefined): Operation {
  const waits = host !== undefined && !ended(operation) && operation.command !== undefined && !online(host);
  return renderOperation(
    operation,
    host?.name ?? 'none',
    waits ? `Waiting for host ${host.name}, ${offlineSince(host)}` : undefined,
  );
}

/** The operations of a project that can still be read, newest first. */
export async function listOperations(ports: Ports, project: string): Promise<Operation[]> {
  const pages = await Promise.all(keys.operations(project).map((pk) => queryAll<OperationRecord>(ports.records, pk)));
  const all = pages.flat().filter((stored) => live(stored, ports.clock.now()));
  const ids = new Set(all.flatMap(({ data }) => data.host ?? []));
  const hosts = new Map<string, HostRecord>();
  for (const stored of await Promise.all([...ids].map((id) => hostById(ports.records, id)))) {
    if (stored !== undefined) hosts.set(stored.data.id, stored.data);
  }
  return all
    .toSorted((a, b) => b.data.createdAt - a.data.createdAt)
    .map(({ data }) => render(data, hosts.get(data.host ?? '')));
}

/** The operation once it has ended, or as it is after `timeoutMs` ({@link MAX_WAIT_MS} at most). */
export async function waitForOperation(
  ports: Ports,
  project: string,
  id: string,
  timeoutMs: number,
): Promise<Operation> {
  const since = ports.clock.now();
  const until = since + Math.min(timeoutMs, MAX_WAIT_MS);
  let pushAt = since;
  for (;;) {
    const { data } = await load(ports, project, id);
    if (ended(data) || ports.clock.now() >= until) return getOperation(ports, project, id);
    if (data.command !== undefined && ports.clock.now() >= pushAt) {
      await deliverCommand(ports, data.command);
      pushAt = ports.clock.now() + REPEAT_MIN_MS;
    }
    const waited = ports.clock.now() - since;
    await ports.clock.sleep(Math.min(Math.max(POLL_MIN_MS, waited * POLL_SHARE), POLL_MAX_MS));
  }
}

/** Progress of an operation that is under way; may be lost. */
export async function noteProgress(ports: Ports, host: string, command: string, text: string): Promise<void> {
  const found = await commandById(ports, command);
  if (found?.host !== host) return;
  const { project, operation } = found.entry.data;
  const { value, effects } = await decide(
    ports,
    () => ports.records.get<OperationRecord>(keys.operation(project, operation)),
    (stored) => {
      if (stored === undefined || ended(stored.data)) return nothing(undefined);
      const now = ports.clock.now();
      const data = { ...stored.data, updatedAt: now, metadata: withProgress(stored.data, text, now) };
      return {
        writes: [putOperation(data, stored.rev)],
        effects: [operationEvent(data, 'none')],
        value: data,
      };
    },
  );
  if (value !== undefined) await perform(ports, effects);
}

/** A move says in which phase it is, and since when the instance stands still. */
function withProgress({ metadata, move }: OperationRecord, text: string, now: number): Record<string, unknown> {
  if (move === undefined) return { ...metadata, download_progress: text };
  const { phase, frozen_at: frozen } = metadata;
  const stood =
    typeof frozen === 'string' ? `, standing still for ${((now - Date.parse(frozen)) / 1000).toFixed(1)} s` : '';
  return { ...metadata, move_progress: `${String(phase)}: ${text}${stood}` };
}

/**
 * Cancels an operation: what waits in the outbox is taken out, a command already with its host is called back, best effort.
 * @throws FairleadError `not_found`, or `wrong_state` when it has ended.
 */
export async function cancelOperation(ports: Ports, project: string, id: string): Promise<void> {
  const { data } = await load(ports, project, id);
  const { move } = data;
  if (move !== undefined && !ended(data))
    return abortMove(ports, project, move, new FairleadError('cancelled', 'Move cancelled.'));
  await abandon(ports, project, id, { status: STATUS.cancelled, error: 'Operation cancelled', refuseEnded: true });
}

/** Fails an operation whose time is over. */
export async function expireOperation(ports: Ports, project: string, id: string): Promise<void> {
  const stored = await ports.records.get<OperationRecord>(keys.operation(project, id));
  const host = stored?.data.host === undefined ? undefined : await hostById(ports.records, stored.data.host);
  const why =
    host && !online(host.data)
      ? `host ${host.data.name} is ${offlineSince(host.data)}`
      : 'nothing was heard of it in time';
  await abandon(ports, project, id, {
    status: STATUS.failure,
    error: `Gave up: ${why}.`,
    refuseEnded: false,
  });
}

interface Abandonment {
  readonly status: 400 | 401;
  readonly error: string;
  readonly refuseEnded: boolean;
}

async function abandon(ports: Ports, project: string, id: string, how: Abandonment): Promise<void> {
  const { value, effects } = await decide(
    ports,
    () => loadForAbandon(ports, project, id),
    (state) => planAbandon(state, how, ports.clock.now()),
  );
  await perform(ports, effects);
  const { recall } = value;
  if (recall?.until === 'answered') await deliverCommand(ports, recall.command);
  if (recall?.until === 'posted') await ports.links.post(recall.connection, { t: 'cancel', id: recall.command });
}

/** Fails an operation whose host was removed. */
export async function failOperation(ports: Ports, project: string, id: string, error: string): Promise<void> {
  await abandon(ports, project, id, { status: STATUS.failure, error, refuseEnded: false });
}

interface AbandonState {
  readonly operation: Stored<OperationRecord>;
  readonly host?: HostRecord | undefined;
  readonly command?: { readonly host: string; readonly entry: Stored<OutboxEntry> } | undefined;
  readonly instance?: Stored<InstanceRecord> | undefined;
  readonly stream?: Stored<StreamRecord> | undefined;
}

async function loadForAbandon(ports: Ports, project: string, id: string): Promise<AbandonState> {
  const operation = await load(ports, project, id);
  const { host, command, instance, stream } = operation.data;
  return {
    operation,
    host: host === undefined ? undefined : (await hostById(ports.records, host))?.data,
    command: command === undefined ? undefined : await commandById(ports, command),
    instance: instance === undefined ? undefined : await ports.records.get(keys.instance(project, instance)),
    stream: stream === undefined ? undefined : await ports.records.get(keys.stream(stream)),
  };
}

/** The host is told to stop: until it answered, or once when nobody waits for its answer any more. */
type Recall =
  | { readonly until: 'answered'; readonly command: string }
  | { readonly until: 'posted'; readonly command: string; readonly connection: string }
  | undefined;

/**
 * Pure: what abandoning an operation changes. A command that may have reached its host cannot be taken back for sure: a user's cancel calls
 * it back and leaves the end to the host's answer; one whose time is over is given up, and what became of it shows in the next report.
 */
export function planAbandon(state: AbandonState, how: Abandonment, now: number): Decision<{ recall: Recall }> {
  const { operation, host, command, instance, stream } = state;
  if (ended(operation.data)) {
    if (!how.refuseEnded) return nothing({ recall: undefined });
    throw new FairleadError('wrong_state', 'The operation has ended already; there is nothing to cancel.');
  }
  const sent = command?.entry.data.sentTo === undefined ? undefined : command.entry.data.id;
  const connection = host?.connection;
  if (command !== undefined && sent !== undefined && how.refuseEnded) {
    if (connection !== undefined) {
      const value = { recall: { until: 'answered', command: sent } } as const;
      return { writes: [recallCommand(command.host, command.entry)], effects: [], value };
    }
    throw new FairleadError(
      'wrong_state',
      `Host ${host?.name ?? ''} may have the command already and is offline; the outcome will be known when it is back.`,
    );
  }
  const hint =
    sent === undefined ? 'Nothing was changed; try again.' : 'The host may have done it: look before you repeat it.';
  const error = how.refuseEnded ? how.error : `${how.error} ${hint}`;
  const recall: Recall =
    sent === undefined || connection === undefined ? undefined : { until: 'posted', command: sent, connection };
  const end = endOperation(operation.data, operation.rev, now, { status: how.status, error });
  return {
    writes: [
      end.write,
      ...(command ? dequeueCommand(command.host, command.entry) : []),
      ...(instance ? instanceAfterAbandon(instance, operation.data, sent !== undefined) : []),
      ...(stream ? forgetStream(stream.data) : []),
    ],
    effects: [operationEvent(end.operation, host?.name ?? 'none'), ...(stream ? [tellOver(stream.data)] : [])],
    value: { recall },
  };
}
