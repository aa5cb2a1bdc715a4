/** Listens where a control plane should be, and lets handshakes hang: some before TLS, some after the websocket's 101. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttps } from 'node:https';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/** RFC 6455: what a server's key is made with. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface Tarpit {
  /** Addresses that hang, by where they do. */
  readonly hanging: { readonly tls: ReadonlySet<string>; readonly welcome: ReadonlySet<string> };
  /** Listens no more. What hangs goes on hanging. */
  leave(): Promise<void>;
  /** Lets everything go. */
  close(): void;
}

/**
 * Opens a tarpit with the certificate of the control plane whose data are in `dataDir`.
 * @param listen `address:port`, free by now
 * @param mute whether TLS of that address stays without an answer; the others get as far as the 101
 */
export async function openTarpit(dataDir: string, listen: string, mute: (address: string) => boolean): Promise<Tarpit> {
  const hanging = { tls: new Set<string>(), welcome: new Set<string>() };
  const [cert, key] = await Promise.all(
    ['server.crt', 'server.key'].map((file) => readFile(join(dataDir, 'keys', file))),
  );
  const https = createHttps({ cert, key }, (request, response) => {
    request.resume();
    response.end(JSON.stringify({ metadata: { nonce: 'tar', now: Date.now() } }));
  });
  https.on('upgrade', (request, socket: Socket) => {
    const asked = request.headers['sec-websocket-key'] ?? '';
    const accept = createHash('sha1').update(`${asked}${WEBSOCKET_GUID}`).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    hanging.welcome.add(socket.remoteAddress ?? '');
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    const address = socket.remoteAddress ?? '';
    if (mute(address)) hanging.tls.add(address);
    else https.emit('connection', socket);
  });
  const [address = '', port = ''] = listen.split(':');
  server.listen(Number(port), address);
  await once(server, 'listening');
  return {
    hanging,
    leave: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      // `close` waits for the connections too; nobody listens as soon as it was called.
      await Promise.race([closed, new Promise((resolve) => setImmediate(resolve))]);
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}
