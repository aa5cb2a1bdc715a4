import { createHash, randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';
import * as z from 'zod';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { LINK_PATH, unmasked, websocketUrl } from '#shared/link/address.ts';
import { HANDSHAKE_MS } from '#shared/link/limits.ts';
import type { HostKey } from '../identity/key.ts';
import type { HostRecord } from '../identity/record.ts';
import { codeOf, postJson } from './http.ts';
import { dialling } from './tls.ts';

/** Frames are 32,000 bytes at most; what is far beyond is not ours. */
const MAX_PAYLOAD_BYTES = 128 * 1024;
/** Of an HTTP refusal's text, this much is read. */
const MAX_REFUSAL_BYTES = 8 * 1024;

const nonceAnswer = z.object({
  metadata: z.object({
    nonce: z.string().min(1).max(256),
    now: z.number(),
    /** Where the websocket is opened, when that is not at the control plane's own URL. */
    link: z.url({ protocol: /^wss$/ }).max(1024).optional(),
  }),
});

/** An open websocket, as little of it as the link needs. */
export interface Socket {
  send(text: string): void;
  /** Ends it at once; `closed` follows. */
  close(): void;
}

/** What a socket tells. `closed` comes exactly once, after {@link Dial} resolved. */
export interface SocketListener {
  text(text: string): void;
  closed(why: string): void;
}

/** Opens a connection to the edge. Rejects with a FairleadError; `unauthenticated`, `forbidden`, `not_found` mean that this host is refused. */
export type Dial = (listener: SocketListener, signal: AbortSignal) => Promise<Socket>;

/**
 * A dial for an enrolled host: fetches a nonce, proves possession of the key over it, opens the websocket.
 * @param identity read anew for each dial, since the instance secret changes
 * @param boot this boot of this host
 */
export function dialler(identity: () => HostRecord, key: HostKey, boot: string): Dial {
  return async (listener, signal) => {
    const record = identity();
    const { proof, link } = await prove(record, key, boot, signal);
    const url = new URL(websocketUrl(record.url, link, LINK_PATH));
    signal.throwIfAborted();
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${proof}` },
      perMessageDeflate: false,
      generateMask: unmasked,
      maxPayload: MAX_PAYLOAD_BYTES,
      handshakeTimeout: HANDSHAKE_MS,
      followRedirects: false,
      // The type of ws knows only the form that returns the socket; node takes either.
      createConnection: dialling({ url, pin: record.pin }) as never,
    });
    return opened(socket, listener, signal);
  };
}

/** The JWS that opens the websocket, and where. Freshness is the server's nonce: this host's clock may be wrong. */
async function prove(
  record: HostRecord,
  key: HostKey,
  boot: string,
  signal: AbortSignal,
): Promise<{ proof: string; link: string | undefined }> {
  const { hostId, url, pin, secret } = record;
  const address = `${url}/1.0/fleet/hosts/${encodeURIComponent(hostId)}/nonce`;
  const answer = nonceAnswer.safeParse(await postJson(address, {}, { pin, timeoutMs: HANDSHAKE_MS, signal }));
  if (!answer.success) throw new FairleadError('protocol', `${url} gave no nonce; is it a Fairlead control plane?`);
  const { nonce, link } = answer.data.metadata;
  const proof = await key.sign('fl-host+jwt', {
    iss: `host:${hostId}`,
    aud: 'fl:ws',
    nonce,
    jti: randomUUID(),
    gen: secret.generation,
    isec: createHash('sha256').update(secret.value).digest('hex'),
    boot,
  });
  return { proof, link };
}

function opened(socket: WebSocket, listener: SocketListener, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const abort = (): void => socket.terminate();
    signal.addEventListener('abort', abort, { once: true });
    let last = '';
    socket.once('unexpected-response', (_request, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        if (text.length < MAX_REFUSAL_BYTES) text += part;
      });
      response.once('close', () => {
        reject(refusal(response.statusCode ?? 0, text));
        socket.terminate();
      });
    });
    socket.on('error', (error) => {
      last = messageOf(error);
      reject(
        error instanceof FairleadError
          ? error
          : new FairleadError('unavailable', `No connection: ${last}.`, { cause: error }),
      );
    });
    socket.once('open', () => {
      signal.removeEventListener('abort', abort);
      socket.once('close', (code, reason) => listener.closed(last || reason.toString() || `code ${code}`));
      resolve({ send: (text) => socket.send(text, ignoreLost), close: () => socket.terminate() });
    });
    socket.on('message', (data, binary) => {
      if (!binary) listener.text((data as Buffer).toString());
    });
  });
}

/** A frame that a dying socket did not take is told by its `close`. */
function ignoreLost(): void {}

function refusal(status: number, text: string): FairleadError {
  const said = /"error"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1];
  return new FairleadError(codeOf(status), said ?? `The control plane refused the connection with status ${status}.`);
}
