import { FairleadError } from '#shared/errors.ts';
import type { CommandResult, HostCommand } from '#shared/link/commands.ts';
import { fromWire, type WireError } from '#shared/link/frames.ts';

import type { Ports } from '../../ports/ports.ts';
import { ConditionFailed, type Stored } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import { hostConnectionEnded } from './connection-ended.ts';
import { offlineSince, online, type HostRecord } from './host.ts';

/** How long a reader waits for a host's answer. */
const ASK_MS = 5_000;
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
export async function askHost(ports: Ports, host: HostRecord, command: HostCommand): Promise<CommandResult> {
  if (!online(host))
    throw new FairleadError('host_offline', `Host "${host.name}" is ${offlineSince(host)}. Try again when it is back.`);
  const id = ports.random.uuid();
  const expires = ports.clock.now() + ASK_MS;
  const question: Question = { host: host.id, question: true };
  await ports.records.transact([
    { op: 'put', key: keys.command(id), data: question, when: 'absent', expiresAt: expires + ASK_MS },
  ]);
  if ((await ports.links.post(host.connection ?? '', { t: 'cmd', id, cmd: command, expires })) === 'gone') {
    await hostConnectionEnded(ports, host.id, host.connection ?? '');
    throw new FairleadError('host_offline', `Host "${host.name}" just lost its connection. Try again when it is back.`);
  }
  const reply = await poll(ports, id, expires);
  if (reply === undefined)
    throw new FairleadError('timed_out', `Host "${host.name}" did not answer within ${ASK_MS / 1000} s.`);
  if (reply.error !== undefined) throw fromWire(reply.error);
  if (reply.result !== undefined) return reply.result;
  throw new FairleadError('protocol', `Host "${host.name}" answered nothing. Update its connector, then try again.`);
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

/** Writes the answer down for whoever waits for it; the first one counts, and one that came too late finds nobody. */
export async function answerQuestion(
  ports: Ports,
  stored: Stored<Question>,
  reply: NonNullable<Question['reply']>,
): Promise<void> {
  if (stored.data.reply !== undefined) return;
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
