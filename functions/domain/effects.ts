import { messageOf } from '#shared/errors.ts';

import type { Ports } from '../ports/ports.ts';
import type { Effect } from './decide.ts';
import { publish } from './events/publish.ts';
import { deliver } from './hosts/outbox.ts';

/**
 * Does what a committed decision asks for. A failure is logged and goes no further: the decision stands, and the outbox, a reconnect or
 * the sweep make good what was lost.
 */
export async function perform(ports: Ports, effects: readonly Effect[]): Promise<void> {
  for (const effect of effects) {
    try {
      await performOne(ports, effect);
    } catch (error) {
      ports.log.error('effect failed', { effect: effect.do, error: messageOf(error) });
    }
  }
}

function performOne(ports: Ports, effect: Effect): Promise<unknown> {
  switch (effect.do) {
    case 'deliver':
      return deliver(ports, effect.host);
    case 'publish':
      return publish(ports, effect.project, effect.event);
    case 'enqueue':
      return ports.jobs.enqueue(effect.job);
    case 'post':
      return ports.links.post(effect.connection, effect.frame);
    case 'close':
      return ports.links.close(effect.connection);
  }
}
