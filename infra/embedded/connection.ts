import type { WebSocket } from 'ws';

import { FairleadError } from '#shared/errors.ts';
import type { AuthorizedEvent } from '../../functions/ports/events.ts';
import { waitAtMost } from './bounded-wait.ts';
import type { Chaos } from './chaos.ts';
import type { TimerClock } from './clock.ts';
import type { GatewayRules } from './rules.ts';

/** Bytes that wait for a client that reads slowly; more are refused, as API Gateway does with 429. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** From here on a post waits for the client to catch up, for so long at most: that slows the sender down. */
const SLOW_BYTES = 256 * 1024;
const SLOW_WAIT_MS = 1000;
/** Messages of one connection that are being worked on; then its socket is not read for a while. */
const MAX_IN_FLIGHT = 128;

export const CLOSE = { away: 1001, text: 1003, policy: 1008, size: 1009 } as const;

export interface ConnectionOptions {
  readonly socket: WebSocket;
  readonly context: AuthorizedEvent['requestContext'];
  readonly rules: GatewayRules;
  readonly clock: TimerClock;
  readonly chaos: Chaos;
  /** Works on one message; never rejects. */
  readonly receive: (connection: Connection, text: string) => Promise<void>;
  readonly closed: (connection: Connection) => void;
}

/** One open websocket under API Gateway's rules: what it may send, for how long, and how much may wait for it. */
export interface Connection {
  readonly id: string;
  readonly context: AuthorizedEvent['requestContext'];
  /** @throws FairleadError `protocol` when too large, `unavailable` when the client reads too slowly. */
  send(text: string): Promise<'sent' | 'gone'>;
  close(code: number, reason: string): void;
}

/** Takes charge of a websocket that was just accepted. */
export function openConnection({
  socket,
  context,
  rules,
  clock,
  chaos,
  receive,
  closed,
}: ConnectionOptions): Connection {
  let inFlight = 0;
  let lastActive = clock.now();
  const timers = new Set<() => void>();

  const connection: Connection = {
    id: context.connectionId,
    context,
    send: async (text) => {
      if (socket.readyState !== socket.OPEN) return 'gone';
      const bytes = Buffer.from(text);
      if (bytes.length > rules.maxMessageBytes) {
        throw new FairleadError(
          'protocol',
          `a message of ${bytes.length} bytes is over the ${rules.maxMessageBytes} that a websocket carries`,
        );
      }
      if (socket.bufferedAmount + bytes.length > MAX_BUFFERED_BYTES) {
        throw new FairleadError('unavailable', 'the other end of the websocket reads too slowly; send again later');
      }
      lastActive = clock.now();
      const written = new Promise<void>((resolve) =>
        chaos.message(() => write(socket, bytes, rules.maxFrameBytes, resolve)),
      );
      if (socket.bufferedAmount > SLOW_BYTES) await waitAtMost(written, SLOW_WAIT_MS);
      return 'sent';
    },
    close: (code, reason) => {
      if (socket.readyState === socket.OPEN) socket.close(code, reason);
    },
  };

  const within = (ms: number, action: () => void) => {
    if (ms === Infinity) return;
    const cancel = clock.after(ms, () => {
      timers.delete(cancel);
      action();
    });
    timers.add(cancel);
  };
  const checkIdle = () => {
    const left = lastActive + rules.idleMs - clock.now();
    if (left <= 0) connection.close(CLOSE.away, 'Going away');
    else within(left, checkIdle);
  };
  const work = (text: string) => {
    inFlight += 1;
    if (inFlight >= MAX_IN_FLIGHT) socket.pause();
    void receive(connection, text).finally(() => {
      inFlight -= 1;
      if (inFlight <= MAX_IN_FLIGHT / 2 && socket.isPaused) socket.resume();
    });
  };

  socket.on('message', (data: Buffer, isBinary) => {
    // A closing handshake is under way: what still arrives is no message any more.
    if (socket.readyState !== socket.OPEN) return;
    lastActive = clock.now();
    if (isBinary && rules.textOnly) connection.close(CLOSE.text, 'text only');
    else chaos.message(() => work(data.toString()));
  });
  // `ws` has closed the connection with the right code already.
  socket.on('error', () => undefined);
  socket.once('close', () => {
    for (const cancel of timers) cancel();
    closed(connection);
  });
  within(rules.idleMs, checkIdle);
  within(rules.maxAgeMs, () => connection.close(CLOSE.away, 'Going away'));
  return connection;
}

/** Writes a message; a long one in several frames, since `ws` makes one of any size. */
function write(socket: WebSocket, bytes: Buffer, maxFrameBytes: number, written: () => void): void {
  if (socket.readyState !== socket.OPEN) {
    written();
    return;
  }
  const size = Math.min(maxFrameBytes, Math.max(bytes.length, 1));
  for (let from = 0; ; from += size) {
    const fin = from + size >= bytes.length;
    socket.send(bytes.subarray(from, from + size), { binary: false, fin }, fin ? written : undefined);
    if (fin) return;
  }
}
