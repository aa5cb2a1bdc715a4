import { isFairleadError } from '#shared/errors.ts';
import type { InstanceReport } from '#shared/link/commands.ts';
import { toWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Stored } from '../../ports/records.ts';
import { decide, nothing } from '../decide.ts';
import { perform } from '../effects.ts';
import { planDelete } from '../instances/change.ts';
import type { InstanceRecord } from '../instances/instance.ts';
import { putInstance } from '../instances/instance.ts';
import {
  applyReport,
  endedItsLife,
  planOutcome,
  reportedEvent,
  type Outcome,
  type OutcomeState,
} from '../instances/outcome.ts';
import type { TaskInput } from '../instances/task.ts';
import { keys } from '../keys.ts';
import { moveAnswered, moveOf } from '../moves/advance.ts';
import type { OperationRecord } from '../operations/operation.ts';
import type { StreamRecord } from '../streams/tickets.ts';
import { answerQuestion, type Question } from './ask.ts';
import type { HostRecord } from './host.ts';
import { commandById } from './outbox.ts';
import { confirmSecret } from './proof.ts';

const GONE = 'The host no longer has this instance. Delete it, or restore its data on the host.';

type Frame<T extends UpFrame['t']> = Extract<UpFrame, { t: T }>;

/** A host's answer to a command. It is acknowledged once it is committed; an answer nobody waits for any more is acknowledged too. */
export async function receiveResult(
  ports: Ports,
  host: Stored<HostRecord>,
  connection: string,
  frame: Frame<'res'>,
): Promise<void> {
  const question = await ports.records.get<Question>(keys.command(frame.id));
  if (question !== undefined && 'question' in question.data) {
    if (question.data.host === host.data.id)
      await answerQuestion(ports, question, { result: frame.result, error: frame.error });
  } else {
    await takeOutcome(ports, host.data, frame.id, outcomeOf(frame));
  }
  await ports.links.post(connection, { t: 'got', n: frame.n });
}

async function takeOutcome(ports: Ports, host: HostRecord, command: string, outcome: Outcome): Promise<void> {
  const found = await commandById(ports, command);
  if (found?.host !== host.id) return;
  if (moveOf(found.entry.data) !== undefined) return moveAnswered(ports, host, found.entry.data, outcome);
  const input = followUp(ports);
  const { effects } = await decide(
    ports,
    () => loadOutcome(ports, host, command),
    (state) => (state === undefined ? nothing(undefined) : planOutcome(state, outcome, input)),
  );
  await perform(ports, effects);
}

/** `ok` decides: a failure without a reason is still one. */
function outcomeOf({ ok, seq, result, error }: Frame<'res'>): Outcome {
  if (ok) return { seq, result };
  return {
    seq,
    error: error ?? { code: 'host_failed', message: 'The host failed and gave no reason; its log says more.' },
  };
}

/** For what follows without anybody asking: an ephemeral instance that stopped is deleted. */
function followUp(ports: Ports): TaskInput {
  const { random, clock } = ports;
  return { actor: 'fairlead', operation: random.uuid(), command: random.uuid(), now: clock.now() };
}

/** Undefined when the command is not this host's, or was answered before. */
async function loadOutcome(ports: Ports, host: HostRecord, command: string): Promise<OutcomeState | undefined> {
  const found = await commandById(ports, command);
  if (found?.host !== host.id) return undefined;
  const { project, operation: id } = found.entry.data;
  const operation = await ports.records.get<OperationRecord>(keys.operation(project, id));
  const { instance, stream } = operation?.data ?? {};
  return {
    host,
    entry: found.entry,
    operation,
    instance:
      instance === undefined ? undefined : await ports.records.get<InstanceRecord>(keys.instance(project, instance)),
    stream: stream === undefined ? undefined : await ports.records.get<StreamRecord>(keys.stream(stream)),
  };
}

/** An instance changed on its own: it stopped, it got an address. */
export async function receiveEvent(
  ports: Ports,
  host: Stored<HostRecord>,
  connection: string,
  frame: Frame<'event'>,
): Promise<void> {
  await takeReport(ports, host.data, frame.instance, frame.seq);
  await ports.links.post(connection, { t: 'got', n: frame.n });
}

/** What a host holds, after it connected. The report also shows that the host stored its newest secret. */
export async function receiveReport(
  ports: Ports,
  host: Stored<HostRecord>,
  connection: string,
  frame: Frame<'report'>,
): Promise<void> {
  await confirmSecret(ports, host.data.id, host.data.secret.generation);
  for (const instance of frame.instances) await takeReport(ports, host.data, instance, frame.seq);
  if (frame.held !== undefined) await markMissing(ports, host.data, new Set(frame.held), frame.seq);
  await ports.links.post(connection, { t: 'got', n: frame.n });
}

/** Every newer report is written, also one that says nothing new: else an older one that comes late would win over it. */
async function takeReport(ports: Ports, host: HostRecord, report: InstanceReport, seq: number): Promise<void> {
  const input = followUp(ports);
  const { now } = input;
  const { effects } = await decide(
    ports,
    () => ports.records.get<InstanceRecord>(keys.instance(report.project, report.id)),
    (stored) => {
      if (stored?.data.host !== host.id) return nothing(undefined);
      const after = applyReport(stored.data, report, seq, now);
      if (after === stored.data) return nothing(undefined);
      const told = reportedEvent(stored.data, after, host.name, now);
      if (endedItsLife(after)) {
        const { writes, effects } = planDelete({ instance: { ...stored, data: after }, host }, input);
        return { writes, effects: [...told, ...effects], value: undefined };
      }
      return { writes: [putInstance(after, stored.rev)], effects: told, value: undefined };
    },
  );
  await perform(ports, effects);
}

/**
 * What the registry has on this host and the host has not: its data are gone. One that is only being made or just being deleted, or was
 * made after the report was taken, is not expected in it.
 */
async function markMissing(ports: Ports, host: HostRecord, held: ReadonlySet<string>, seq: number): Promise<void> {
  for (const pointer of await queryAll<{ id: string }>(ports.records, keys.instancesOn(host.id))) {
    if (held.has(pointer.data.id)) continue;
    const [project = ''] = pointer.sk.split('#');
    const { effects } = await decide(
      ports,
      () => ports.records.get<InstanceRecord>(keys.instance(project, pointer.data.id)),
      (stored) => {
        if (stored?.data.host !== host.id || stored.data.seq >= seq) return nothing(undefined);
        if (stored.data.task?.action === 'create' || stored.data.task?.action === 'delete') return nothing(undefined);
        const data: InstanceRecord = { ...stored.data, status: 'Error', seq, error: GONE };
        const told = stored.data.error === GONE ? [] : reportedEvent(stored.data, data, host.name, ports.clock.now());
        return { writes: [putInstance(data, stored.rev)], effects: told, value: undefined };
      },
    );
    await perform(ports, effects);
  }
}

/** Answers what a host asked for a command it is working on: with what it needs, or with the reason it does not get it. */
export async function answer(
  ports: Ports,
  connection: string,
  id: string,
  found: Promise<Omit<Extract<DownFrame, { t: 'answer' }>, 't' | 'id'>>,
): Promise<void> {
  try {
    await ports.links.post(connection, { t: 'answer', id, ...(await found) });
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    await ports.links.post(connection, { t: 'answer', id, error: toWire(error) });
  }
}
