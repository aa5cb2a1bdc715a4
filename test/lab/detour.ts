/** A client's way to the control plane that a test can cut: a TCP proxy on this machine, and a data directory that leads through it. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a client reads of a control plane on its machine. */
export interface Client {
  readonly url: string;
  readonly token: string;
  readonly fingerprint: string;
}

export class Detour {
  /** For `--data` of a client that goes this way. */
  readonly dataDir: string;
  readonly #undo: AsyncDisposableStack;
  readonly #open = new Set<Socket>();
  #cut = false;

  private constructor(dataDir: string, undo: AsyncDisposableStack) {
    this.dataDir = dataDir;
    this.#undo = undo;
  }

  static async open(client: Client): Promise<Detour> {
    await using undo = new AsyncDisposableStack();
    const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-detour-'));
    undo.defer(() => rm(dataDir, { recursive: true, force: true }));
    const { hostname, port } = new URL(client.url);
    const server = createServer((socket) => detour.#carry(socket, hostname, Number(port)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    undo.defer(() => void server.close());
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await writeFile(join(dataDir, 'client.json'), JSON.stringify({ ...client, url }));
    const detour = new Detour(dataDir, undo.move());
    return detour;
  }

  /** Ends every connection, and refuses new ones. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  /** Takes {@link cut} back. */
  up(): void {
    this.#cut = false;
  }

  #carry(near: Socket, hostname: string, port: number): void {
    if (this.#cut) return void near.resetAndDestroy();
    const far = connect(port, hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#open.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#open.delete(socket);
        other.destroy();
      });
    }
    near.pipe(far).pipe(near);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await this.#undo.disposeAsync();
  }
}
