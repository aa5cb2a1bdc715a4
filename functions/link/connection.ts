import { EVENT_TYPES, type EventType } from '#shared/lxd/event.ts';

import { DEFAULT_TYPES, subscribe, unsubscribe } from '../domain/events/publish.ts';
import { hostConnectionEnded } from '../domain/hosts/connection-ended.ts';
import type { AuthorizedEvent } from '../ports/events.ts';
import type { Ports } from '../ports/ports.ts';
import type { ConnectionContext } from './authorize.ts';

/** The context the authorizer gave to a connection. */
export function contextOf(event: AuthorizedEvent): ConnectionContext {
  return event.requestContext.authorizer as unknown as ConnectionContext;
}

/** A websocket opened. Nothing may be sent to it yet; hosts and clients speak first, listeners to events never do. */
export async function connect(ports: Ports, event: AuthorizedEvent): Promise<void> {
  const { kind, project, types } = contextOf(event);
  if (kind === 'events') await subscribe(ports, project, event.requestContext.connectionId, wanted(types));
}

function wanted(types: string): readonly EventType[] {
  const named = EVENT_TYPES.filter((type) => types.split(',').includes(type));
  return named.length > 0 ? named : DEFAULT_TYPES;
}

/** A websocket ended; perhaps long ago, perhaps its end has a newer one. */
export async function disconnect(ports: Ports, event: AuthorizedEvent): Promise<void> {
  const { kind, id, project } = contextOf(event);
  const { connectionId } = event.requestContext;
  if (kind === 'events') await unsubscribe(ports, project, connectionId);
  if (kind === 'host') await hostConnectionEnded(ports, id, connectionId);
}
