import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { decodeUp, toWire, type UpFrame } from '#shared/link/frames.ts';
import { HEARTBEAT_MS, PROTOCOL_VERSION, ROTATE_MIN_MS } from '#shared/link/limits.ts';

import { currentHost, hostSaidHello } from '../domain/hosts/presence.ts';
import { answer, receiveEvent, receiveReport, receiveResult } from '../domain/hosts/receive.ts';
import { imagePartsForHost } from '../domain/images/service.ts';
import { announceChunk, putsForSource, urlsForTarget } from '../domain/moves/objects.ts';
import { noteProgress } from '../domain/operations/service.ts';
import { attach, connectionOfHost } from '../domain/streams/attach.ts';
import { forward } from '../domain/streams/forward.ts';
import { reticketClient } from '../domain/streams/tickets.ts';
import type { MessageEvent } from '../ports/events.ts';
import type { Ports } from '../ports/ports.ts';
import type { ConnectionContext } from './authorize.ts';
import { contextOf } from './connection.ts';

/** Frames that name what they ask for, so that a refusal can name it too. */
const UNNAMED = '-';

/** One frame from an open websocket. A frame that is refused is answered with the reason; the connection stays. */
export async function message(ports: Ports, event: MessageEvent): Promise<void> {
  const { connectionId } = event.requestContext;
  let frame: UpFrame | undefined;
  try {
    frame = decodeUp(event.body);
    await receive(ports, contextOf(event), connectionId, frame);
  } catch (error) {
    if (!isFairleadError(error)) throw error;
    const id = frame !== undefined && 'id' in frame ? frame.id : UNNAMED;
    await ports.links.post(connectionId, { t: 'refused', id, error: toWire(error) });
  }
}

function receive(ports: Ports, context: ConnectionContext, connection: string, frame: UpFrame): Promise<void> {
  // Streams first: they are the many, and they read no record.
  if (frame.t === 'd' || frame.t === 'a' || frame.t === 'rst') return forward(ports, connection, frame);
  if (context.kind === 'host') return fromHost(ports, context, connection, frame);
  if (context.kind === 'client') return fromClient(ports, context, connection, frame);
  return Promise.resolve();
}

type Control = Exclude<UpFrame, { t: 'd' | 'a' | 'rst' }>;

async function fromHost(
  ports: Ports,
  { id, opened }: ConnectionContext,
  connection: string,
  frame: Control,
): Promise<void> {
  if (frame.t === 'hello') {
    if (frame.v === PROTOCOL_VERSION) return hostSaidHello(ports, id, { connection, at: Number(opened) }, frame);
    await ports.links.post(connection, { t: 'bye', error: toWire(otherVersion(frame.v)) });
    return ports.links.close(connection);
  }
  const host = await currentHost(ports, id, connection);
  if (host === undefined) return;
  switch (frame.t) {
    case 'report':
      return receiveReport(ports, host, connection, frame);
    case 'res':
      return receiveResult(ports, host, connection, frame);
    case 'event':
      return receiveEvent(ports, host, connection, frame);
    case 'progress':
      return noteProgress(ports, host.data.id, frame.id, frame.text);
    case 'ask':
      return answer(ports, connection, frame.id, imagePartsForHost(ports, host.data.id, frame));
    case 'ask-put':
      return answer(ports, connection, frame.id, putsForSource(ports, host.data, frame));
    case 'ask-get':
      return answer(ports, connection, frame.id, urlsForTarget(ports, host.data, frame));
    case 'chunk':
      return announceChunk(ports, host.data, frame);
    case 'hb':
    case 'attach':
      return;
  }
}

function otherVersion(version: number): FairleadError {
  const older = version < PROTOCOL_VERSION ? 'connector' : 'control plane';
  return new FairleadError(
    'protocol',
    `The connector speaks version ${version} of the link, the control plane version ${PROTOCOL_VERSION}. Update the ${older}.`,
  );
}

async function fromClient(ports: Ports, context: ConnectionContext, connection: string, frame: Control): Promise<void> {
  if (frame.t === 'hello') {
    const now = ports.clock.now();
    await ports.links.post(connection, {
      t: 'welcome',
      conn: connection,
      now,
      heartbeatMs: HEARTBEAT_MS,
      rotateMs: ROTATE_MIN_MS,
    });
    const open = frame.streams ?? [];
    await reticketClient(ports, frame.boot, context.id, connection, open, (host) => connectionOfHost(ports, host));
  }
  if (frame.t === 'attach') {
    await attach(ports, context.project, { connection, boot: frame.boot, user: context.id }, frame);
  }
}
