import type { AuthorizedEvent, ConnectEvent } from '../ports/events.ts';

/** What API Gateway hands over for a websocket, as far as it is used. Headers and query are there at the handshake only, as they were written. */
export interface GatewayWebsocketEvent {
  readonly requestContext: {
    readonly eventType: 'CONNECT' | 'MESSAGE' | 'DISCONNECT';
    readonly connectionId: string;
    readonly identity: { readonly sourceIp: string };
    /** The authorizer's context, as strings, beside what API Gateway adds. */
    readonly authorizer?: Readonly<Record<string, unknown>>;
  };
  readonly body?: string | null;
}

export interface GatewayConnectEvent {
  readonly headers?: Readonly<Record<string, string>> | null;
  readonly queryStringParameters?: Readonly<Record<string, string>> | null;
  readonly requestContext: { readonly connectionId: string; readonly identity: { readonly sourceIp: string } };
}

/**
 * The handshake as `authorize` reads it: header names in lower case. A WebSocket API has no paths: which of ours a client means it says in
 * the parameter `path` (shared/link/address.ts), and that decides what it wants to be, not what it may.
 */
export function toConnectEvent({ headers, queryStringParameters, requestContext }: GatewayConnectEvent): ConnectEvent {
  const lowered = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
  return {
    headers: Object.fromEntries(lowered),
    queryStringParameters: queryStringParameters ?? {},
    requestContext: { connectionId: requestContext.connectionId, sourceIp: requestContext.identity.sourceIp },
  };
}

/** An event of a connection that was let in. */
export function toAuthorizedEvent({ requestContext }: GatewayWebsocketEvent): AuthorizedEvent {
  const { connectionId, identity, authorizer = {} } = requestContext;
  const context = Object.entries(authorizer).map(([name, value]) => [name, String(value)]);
  return { requestContext: { connectionId, sourceIp: identity.sourceIp, authorizer: Object.fromEntries(context) } };
}
