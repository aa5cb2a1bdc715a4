import { WebSocket } from 'ws';

import type { Event } from '#shared/lxd/event.ts';
import type { ControlPlane } from './http.ts';

/** Between two attempts to get a lost event stream back. */
const RECONNECT_MS = 2000;
const MAX_EVENT_BYTES = 1024 * 1024;
/** Events that may wait for a slow reader before the connection is given up. */
const MAX_WAITING = 10_000;

/**
 * Every event of the fleet, as it happens, for as long as the caller asks for more. A cut is said with `onCut`, and events that happened
 * meanwhile are not repeated.
 * @throws FairleadError when the first connection fails
 */
export async function* events(
  api: ControlPlane,
  types: readonly string[],
  { sleep, onCut }: { sleep: (ms: number) => Promise<void>; onCut: () => void },
): AsyncGenerator<Event> {
  let connected = false;
  for (;;) {
    try {
      for await (const event of connection(api, types, () => (connected = true))) yield event;
    } catch (error) {
      if (!connected) throw api.unreachable(error);
    }
    onCut();
    await sleep(RECONNECT_MS);
  }
}

async function* connection(api: ControlPlane, types: readonly string[], opened: () => void): AsyncGenerator<Event> {
  const query = types.length > 0 ? `?type=${types.map(encodeURIComponent).join(',')}` : '';
  const { url, agent, headers } = await api.socket(`/1.0/events${query}`);
  const socket = new WebSocket(url, { agent, headers, maxPayload: MAX_EVENT_BYTES, perMessageDeflate: false });
  const waiting: Event[] = [];
  let failure: unknown;
  let closed = false;
  let wake = () => {};
  socket.on('open', opened);
  socket.on('message', (data: Buffer) => {
    try {
      const event = JSON.parse(data.toString()) as Event;
      // `{}` keeps the line open (client contract §5.1).
      if (event.type) waiting.push(event);
      if (waiting.length > MAX_WAITING) throw new Error('events come faster than they are read');
    } catch (error) {
      failure = error;
      socket.terminate();
    }
    wake();
  });
  socket.on('error', (error) => (failure = error));
  socket.on('close', () => {
    closed = true;
    wake();
  });
  try {
    // oxlint-disable-next-line no-unmodified-loop-condition -- the socket's listener closes it
    while (!closed || waiting.length > 0) {
      const next = waiting.shift();
      if (next) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (failure !== undefined) throw failure;
  } finally {
    socket.terminate();
  }
}
