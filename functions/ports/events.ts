/**
 * What a gateway hands to the functions and gets back: the shapes of API Gateway (HTTP API payload 2.0, WebSocket API), no more fields than
 * are used. The embedded gateway makes the same ones, so a handler cannot tell where it runs.
 */

export interface HttpEvent {
  readonly version: '2.0';
  /** Not decoded. */
  readonly rawPath: string;
  readonly rawQueryString: string;
  /** Lower-case names; several values joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly isBase64Encoded: boolean;
  readonly requestContext: {
    readonly http: { readonly method: string; readonly sourceIp: string };
    readonly requestId: string;
  };
}

export interface HttpResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/** `$connect`, before the handshake is answered. The authorizer sees the same event. */
export interface ConnectEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly queryStringParameters: Readonly<Record<string, string>>;
  readonly requestContext: { readonly connectionId: string; readonly sourceIp: string };
}

/** `context` becomes `authorizer` of every later event of the connection, as strings. */
export interface Authorization {
  readonly allow: boolean;
  readonly context: Readonly<Record<string, string>>;
}

export interface AuthorizedEvent {
  readonly requestContext: {
    readonly connectionId: string;
    readonly sourceIp: string;
    readonly authorizer: Readonly<Record<string, string>>;
  };
}

export interface MessageEvent extends AuthorizedEvent {
  readonly body: string;
}

/** Best effort: it may come late, after the same end has connected again, or never. */
export type DisconnectEvent = AuthorizedEvent;
