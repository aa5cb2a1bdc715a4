/**
 * What API Gateway and Lambda enforce, and the bounds of a server of one's own. All are on by default: what works here works there.
 * A test or a deployment may lift one: `false` for a switch, `Infinity` for a number. Durations are milliseconds of the gateway's clock.
 */
export interface GatewayRules {
  /** A binary message closes with 1003. */
  readonly textOnly: boolean;
  /** A longer frame closes with 1009. AWS says 32 KB and not which KB; the smaller one is safe. */
  readonly maxFrameBytes: number;
  /** A longer message closes with 1009; a longer post is refused. */
  readonly maxMessageBytes: number;
  /** A message in more fragments closes with 1008. */
  readonly maxFragments: number;
  /** No message either way for so long closes with 1001. */
  readonly idleMs: number;
  /** Every connection closes with 1001 then. */
  readonly maxAgeMs: number;
  /** Posts find nobody before `connect` has ended. */
  readonly connectGating: boolean;
  /** Values of the authorizer's context reach later events as strings, whatever they were. */
  readonly stringContext: boolean;
  /** A client is told, in a frame like API Gateway's, when its message failed, timed out or was throttled. */
  readonly errorFrames: boolean;
  /** An invocation that takes longer is answered for: 504, or an error frame. */
  readonly integrationTimeoutMs: number;
  /** Invocations that run at once; more wait. */
  readonly maxConcurrency: number;
  /** Requests, messages and posts together; a second's worth may come at once, but for the burst. */
  readonly requestsPerSecond: number;
  readonly requestBurst: number;
  readonly connectsPerSecond: number;
  readonly maxBodyBytes: number;
  readonly maxResponseBytes: number;
  readonly maxHeaders: number;
  readonly maxHeaderBytes: number;
  /** Open TCP connections, of everyone and of one address (a site's hosts share one). */
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** For these times the machine's own clock counts. */
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** A socket on which nothing moves, also in the middle of a download. */
  readonly stallTimeoutMs: number;
  readonly keepAliveMs: number;
}

export const DEFAULT_RULES: GatewayRules = {
  textOnly: true,
  maxFrameBytes: 32_000,
  maxMessageBytes: 128_000,
  maxFragments: 64,
  idleMs: 10 * 60_000,
  maxAgeMs: 2 * 3600_000,
  connectGating: true,
  stringContext: true,
  errorFrames: true,
  integrationTimeoutMs: 29_000,
  maxConcurrency: 500,
  requestsPerSecond: 10_000,
  requestBurst: 5000,
  connectsPerSecond: 500,
  maxBodyBytes: 1024 * 1024,
  maxResponseBytes: 6_000_000,
  maxHeaders: 64,
  maxHeaderBytes: 10_240,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 1000,
  headersTimeoutMs: 10_000,
  bodyTimeoutMs: 30_000,
  stallTimeoutMs: 60_000,
  keepAliveMs: 5000,
};
