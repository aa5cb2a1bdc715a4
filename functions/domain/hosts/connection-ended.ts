import type { Ports } from '../../ports/ports.ts';
import { decide, nothing } from '../decide.ts';
import { hostEvent } from '../events/lifecycle.ts';
import { publishAll } from '../events/publish.ts';
import { disconnectHost, hostById } from './host.ts';

/** A connection ended or proved dead; a host that has a newer one by now keeps it. */
export async function hostConnectionEnded(ports: Ports, id: string, connection: string): Promise<void> {
  const now = ports.clock.now();
  const { effects } = await decide(
    ports,
    () => hostById(ports.records, id),
    (stored) => {
      if (stored?.data.connection !== connection) return nothing(undefined);
      return {
        writes: [disconnectHost(stored, now)],
        effects: [hostEvent('host-disconnected', stored.data.name, now)],
        value: undefined,
      };
    },
  );
  await publishAll(ports, effects);
}
