import type { StreamWireFrame } from '#shared/link/frames.ts';

import type { Ports } from '../../ports/ports.ts';
import { openTicket } from './tickets.ts';

/**
 * Passes a stream frame on to the connection its ticket names. Reads no record.
 * @throws FairleadError `forbidden` when the ticket does not fit.
 */
export async function forward(ports: Ports, connection: string, frame: StreamWireFrame): Promise<void> {
  const { links, clock, deployment } = ports;
  const ticket = openTicket(deployment.ticketKey, frame.g, { stream: frame.s, from: connection, now: clock.now() });
  // The receiver has a ticket of its own; the sender's is of no use to it.
  if ((await links.post(ticket.to, { ...frame, g: '' })) === 'gone')
    await links.post(connection, { t: 'gone', s: frame.s });
}
