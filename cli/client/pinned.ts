import { Agent, type RequestOptions } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import type { Duplex } from 'node:stream';

import { FairleadError } from '#shared/errors.ts';

/** TCP and TLS together. */
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_SOCKETS = 8;

type Done = (error: Error | null, socket: Duplex) => void;

/**
 * Connections to one server that is known by the SHA-256 of its certificate. The socket is handed out only after the fingerprint was
 * compared, so that no token is ever written to anybody else.
 */
class PinnedAgent extends Agent {
  readonly #fingerprint: string;

  constructor(fingerprint: string) {
    super({ keepAlive: true, maxSockets: MAX_SOCKETS });
    this.#fingerprint = fingerprint;
  }

  override createConnection(options: RequestOptions, done?: Done): undefined {
    const settle = done ?? (() => undefined);
    // No session is resumed: a resumed one shows no certificate to compare.
    const socket: TLSSocket = connect({
      ...options,
      rejectUnauthorized: false,
      session: undefined,
      timeout: CONNECT_TIMEOUT_MS,
    } as object);
    const fail = (error: Error) => {
      socket.destroy();
      settle(error, socket);
    };
    const onTimeout = () => fail(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`));
    socket.once('timeout', onTimeout);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.off('timeout', onTimeout);
      socket.off('error', fail);
      socket.setTimeout(0);
      const seen = socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase();
      if (seen !== this.#fingerprint) fail(notTheServer(this.#fingerprint, seen ?? 'none'));
      else settle(null, socket);
    });
  }
}

/** An agent for the server with this certificate, or for any that a public authority vouches for. */
export function agentFor(fingerprint: string | undefined): Agent {
  return fingerprint === undefined
    ? new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS })
    : new PinnedAgent(fingerprint);
}

function notTheServer(expected: string, seen: string): FairleadError {
  return new FairleadError(
    'wrong_server',
    `The server's certificate is not the one that was pinned (expected ${expected}, got ${seen}). ` +
      'Nothing was sent. If the server was set up anew, take its client.json again; if not, somebody is in between.',
  );
}
