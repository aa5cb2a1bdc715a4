import {
  DeleteConnectionCommand,
  PostToConnectionCommand,
  type ApiGatewayManagementApiClient,
} from '@aws-sdk/client-apigatewaymanagementapi';

import { FairleadError } from '#shared/errors.ts';
import { encodeFrame } from '#shared/link/frames.ts';
import type { Links } from '../ports/links.ts';
import type { Clock, Random } from '../ports/ports.ts';
import { failureOf, persevere, statusOf } from './persevere.ts';

/** What one post may carry; API Gateway says 128 KB and not which KB. */
const MAX_MESSAGE_BYTES = 128_000;

export interface GatewayLinksOptions {
  /** With `maxAttempts: 1`. */
  readonly client: ApiGatewayManagementApiClient;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Random;
}

/**
 * Posts through the management API of a WebSocket API. Only what was throttled is tried again here. A post whose outcome is unknown is not:
 * the ends would bear the duplicate, but outbox and streams repeat it themselves, later and knowing more.
 */
export function gatewayLinks({ client, clock, random }: GatewayLinksOptions): Links {
  const send = async (action: () => Promise<unknown>): Promise<'sent' | 'gone'> => {
    try {
      await persevere({ clock, random }, action, (error) => failureOf(error) === 'rejected');
      return 'sent';
    } catch (error) {
      if (isGone(error)) return 'gone';
      throw presentable(error);
    }
  };

  const postText = async (ConnectionId: string, text: string) => {
    const Data = Buffer.from(text);
    if (Data.length > MAX_MESSAGE_BYTES) throw tooLarge(Data.length);
    return send(() => client.send(new PostToConnectionCommand({ ConnectionId, Data })));
  };

  return {
    post: (connection, frame) => postText(connection, encodeFrame(frame)),
    postText,
    close: async (ConnectionId) => {
      await send(() => client.send(new DeleteConnectionCommand({ ConnectionId })));
    },
  };
}

/** Also an id that this API never gave out, as after the API was made anew. */
function isGone(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return statusOf(error) === 410 || (error.name === 'BadRequestException' && error.message.includes('connectionId'));
}

function presentable(error: unknown): unknown {
  if (statusOf(error) === 413) return tooLarge();
  switch (failureOf(error)) {
    case 'rejected':
      return new FairleadError('unavailable', 'Too many messages at once, or the other end reads too slowly.', {
        cause: error,
      });
    case 'unknown':
      return new FairleadError('unavailable', 'The gateway did not say whether it took a message.', { cause: error });
    case 'final':
      return error;
  }
}

function tooLarge(bytes?: number): FairleadError {
  const size = bytes === undefined ? '' : ` of ${bytes} bytes`;
  return new FairleadError('protocol', `a message${size} is over the ${MAX_MESSAGE_BYTES} that a websocket carries`);
}
