import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { CommandResult, HostCommand } from '#shared/link/commands.ts';
import { fromWire, type DownFrame, type WireError } from '#shared/link/frames.ts';
import { repeatMs } from '#shared/link/repeat.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, type Stored } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { hostConnectionEnded } from './connection-ended.ts';
import { hostById, offlineSince, onceBack, online, type HostRecord } from './host.ts';

/** How long a reader waits for a host's answer, unless it says otherwise. */
const ASK_MS = 5_000;
/** A question that could not be posted is tried again so soon. */
const UNPOSTED_MS = 250;
const POLL_FIRST_MS = 4;
const POLL_MAX_MS = 100;

/** The pending question behind a command id: never resent, never journalled. */
export interface Question {
  readonly host: string;
  readonly question: true;
  readonly reply?: { readonly result?: CommandResult | undefined; readonly error?: WireError | undefined };
}

/**
 * Asks a connected host something that changes nothing, and waits for the answer.
 * @throws FairleadError `host_offline`, `timed_out`, or what the host answered.
 */
export async function askHost(
  ports: Ports,
  host: HostRecord,
  command: HostCommand,
  withinMs: number = ASK_MS,
): Promise<CommandResult> {
  const present = await onceBack(ports, host);
  if (!online(present)) {
    throw new FairleadError(
      'host_offline',
      `Host "${host.name}" is ${offlineSince(present)}. Try again when it is back.`,
    );
  }
  const id = ports.random.uuid();
  const expires = ports.clock.now() + withinMs;
  const question: Question = { host: host.id, question: true };
  await ports.records.transact([
    { op: 'put', key: keys.command(id), data: question, when: 'absent', expiresAt: expires + ASK_MS },
  ]);
  const { posted, reply } = await posed(ports, host.id, { t: 'cmd', id, cmd: command, expires });
  if (!posted)
    throw new FairleadError('host_offline', `Host "${host.name}" just lost its connection. Try again when it is back.`);
  if (reply === undefined)
    throw new FairleadError('timed_out', `Host "${host.name}" did not answer within ${withinMs / 1000} s.`);
  if (reply.error !== undefined) throw fromWire(reply.error);
  if (reply.result !== undefined) return reply.result;
  throw new FairleadError('protocol', `Host "${host.name}" answered nothing. Update its connector, then try again.`);
}

type Asked = Extract<DownFrame, { t: 'cmd' }>;

/** Asks again when no answer came in time, also on the connection the host has by then. */
async function posed(ports: Ports, host: string, frame: Asked): Promise<{ posted: boolean; reply: Question['reply'] }> {
  let posts = 0;
  while (ports.clock.now() < frame.expires) {
    const posted = await pose(ports, host, frame);
    if (posted) posts += 1;
    const wait = posted ? repeatMs(posts) : UNPOSTED_MS;
    const reply = await poll(ports, frame.id, Math.min(frame.expires, ports.clock.now() + wait));
    if (reply !== undefined) return { posted: true, reply };
  }
  return { posted: posts > 0, reply: undefined };
}

/** False when there is no connection to post on just now. */
async function pose(ports: Ports, id: string, frame: Asked): Promise<boolean> {
  const host = await hostById(ports.records, id);
  const connection = host && online(host.data) ? host.data.connection : undefined;
  if (connection === undefined) return false;
  try {
    if ((await ports.links.post(connection, frame)) === 'sent') return true;
  } catch (error) {
    // Throttled: the next attempt may not be.
    if (isFairleadError(error, 'unavailable')) return false;
    throw error;
  }
  await hostConnectionEnded(ports, id, connection);
  return false;
}

async function poll(ports: Ports, id: string, until: number): Promise<Question['reply']> {
  for (let wait = POLL_FIRST_MS; ports.clock.now() < until; wait = Math.min(wait * 1.5, POLL_MAX_MS)) {
    await ports.clock.sleep(wait);
    const stored = await ports.records.get<Question>(keys.command(id));
    if (stored?.data.reply !== undefined) {
      await ports.records.transact([{ op: 'delete', key: keys.command(id) }]);
      return stored.data.reply;
    }
  }
  return undefined;
}

/** Writes the answer down for whoever waits for it; one that came too late finds nobody. */
export async function answerQuestion(
  ports: Ports,
  stored: Stored<Question>,
  reply: NonNullable<Question['reply']>,
): Promise<void> {
  const { pk, sk, rev, expiresAt, data } = stored;
  try {
    await ports.records.transact([
      {
        op: 'put',
        key: { pk, sk },
        data: { ...data, reply },
        when: { rev },
        ...(expiresAt !== undefined && { expiresAt }),
      },
    ]);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
  }
}
