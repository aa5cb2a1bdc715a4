import { messageOf } from '#shared/errors.ts';
import type { Event, EventType } from '#shared/lxd/event.ts';

import type { Ports } from '../../ports/ports.ts';
import { live, queryAll } from '../../ports/records.ts';
import type { Effect } from '../decide.ts';
import { keys } from '../keys.ts';

/** Who listens to a project's events, by connection. */
export interface SubscriberRecord {
  readonly connection: string;
  readonly types: readonly EventType[];
}

/** A connection lives two hours at most; its subscription a little longer. */
export const SUBSCRIPTION_MS = (2 * 60 + 10) * 60_000;

/** What a listener that names no type gets: logging events are noise to those who wait for an operation. */
export const DEFAULT_TYPES: readonly EventType[] = ['operation', 'lifecycle'];

/** Subscribes a connection. */
export async function subscribe(
  ports: Ports,
  project: string,
  connection: string,
  types: readonly EventType[],
): Promise<void> {
  const data: SubscriberRecord = { connection, types };
  await ports.records.transact([
    {
      op: 'put',
      key: keys.subscriber(project, connection),
      data,
      when: 'absent',
      expiresAt: ports.clock.now() + SUBSCRIPTION_MS,
    },
  ]);
}

/** Ends a subscription; ending none is no error. */
export async function unsubscribe(ports: Ports, project: string, connection: string): Promise<void> {
  await ports.records.transact([{ op: 'delete', key: keys.subscriber(project, connection) }]);
}

/** Sends an event to everybody who listens to its project. Best effort: whoever must know reads the record. */
export async function publish(ports: Ports, project: string, event: Event): Promise<void> {
  const now = ports.clock.now();
  const subscribers = await queryAll<SubscriberRecord>(ports.records, keys.subscribers(project));
  const text = JSON.stringify(event);
  for (const stored of subscribers) {
    if (!live(stored, now) || !stored.data.types.includes(event.type)) continue;
    await tell(ports, project, stored.data.connection, text);
  }
}

/** One listener that cannot be told must not keep the others from theirs. */
async function tell(ports: Ports, project: string, connection: string, text: string): Promise<void> {
  try {
    if ((await ports.links.postText(connection, text)) === 'gone') await unsubscribe(ports, project, connection);
  } catch (error) {
    ports.log.error('an event was lost', { connection, error: messageOf(error) });
  }
}

/** Publishes those of a decision's effects that are events. */
export async function publishAll(ports: Ports, effects: readonly Effect[]): Promise<void> {
  for (const effect of effects) if (effect.do === 'publish') await publish(ports, effect.project, effect.event);
}
