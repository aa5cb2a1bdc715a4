import { connect, disconnect } from '../link/connection.ts';
import { message } from '../link/message.ts';
import { once, openPorts } from './deployment.ts';
import { toAuthorizedEvent, type GatewayWebsocketEvent } from './websocket-event.ts';

const ports = once(() => openPorts(process.env));
const DONE = { statusCode: 200 };

/**
 * Every event of the WebSocket API but heartbeats. A failure is thrown: a handshake is refused then, and a client whose message failed gets
 * API Gateway's own error frame.
 */
export async function handler(event: GatewayWebsocketEvent): Promise<{ readonly statusCode: number }> {
  const authorized = toAuthorizedEvent(event);
  switch (event.requestContext.eventType) {
    case 'CONNECT':
      await connect(await ports(), authorized);
      return DONE;
    case 'MESSAGE':
      await message(await ports(), { ...authorized, body: event.body ?? '' });
      return DONE;
    case 'DISCONNECT':
      await disconnect(await ports(), authorized);
      return DONE;
  }
}
