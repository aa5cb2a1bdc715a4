/** The edge and the store of a move between two connectors whose links are pipes: as little of a control plane as a move of hosts needs. */
import type { ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { createInterface } from 'node:readline';

import type { CommandResult, HostCommand } from '#shared/link/commands.ts';
import { decodeUp, encodeFrame, fromWire, type DownFrame, type UpFrame } from '#shared/link/frames.ts';
import type { PublicKey } from '#shared/link/moves.ts';
import { fingerprintOf, selfSigned } from '../../infra/embedded/certificate.ts';
import { systemClock } from '../../infra/embedded/clock.ts';
import { systemRandom } from '../../infra/embedded/random.ts';
import { ensureImage } from '../lab/images.ts';
import type { Lab } from '../lab/lab.ts';

type Up<T extends UpFrame['t']> = Extract<UpFrame, { t: T }>;

/** Objects in memory, put once each, with the terms of their URL checked. */
export class MemoryStore {
  readonly objects = new Map<string, Buffer>();
  readonly #server: Server;
  /** PUTs that fail from now on; the hosts have to try again. */
  failPuts = 0;
  url = '';
  readonly pin: string;

  constructor(address: string) {
    const { certificate, key } = selfSigned([address], systemClock(), systemRandom);
    this.pin = fingerprintOf(certificate);
    this.#server = createServer({ cert: certificate, key }, (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const key = decodeURIComponent((request.url ?? '').slice(1));
        const bytes = Buffer.concat(parts);
        if (request.method === 'PUT') {
          response.statusCode = this.#put(key, bytes, String(request.headers['x-sha256']));
          return response.end();
        }
        const found = this.objects.get(key);
        response.statusCode = found ? 200 : 404;
        return response.end(found);
      });
    });
  }

  async listen(address: string): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, address, resolve));
    const { port } = this.#server.address() as { port: number };
    this.url = `https://${address}:${port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #put(key: string, bytes: Buffer, sha256: string): number {
    if (this.failPuts > 0) return ((this.failPuts -= 1), 503);
    if (createHash('sha256').update(bytes).digest('hex') !== sha256) return 400;
    if (this.objects.has(key)) return 412;
    this.objects.set(key, bytes);
    return 200;
  }
}

/** One connector inside a lab host. */
export class Connector {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, { resolve: (result: CommandResult) => void; reject: (error: unknown) => void }>();
  readonly progress: string[] = [];
  readonly reports: Up<'report'>[] = [];
  readonly ready: Promise<PublicKey>;
  readonly #answer: (frame: UpFrame) => DownFrame | undefined;

  constructor(lab: Lab, host: number, store: MemoryStore, answer: (frame: UpFrame) => DownFrame | undefined) {
    this.#answer = answer;
    this.#child = lab.host(host).spawn(['node', '/fairlead/test/e2e/move.driver.ts', store.url, store.pin], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.ready = new Promise((resolve) => {
      createInterface({ input: this.#child.stdout! }).on('line', (line) => {
        if (line.startsWith('{"t":"key"')) resolve((JSON.parse(line) as { jwk: PublicKey }).jwk);
        else this.#heard(decodeUp(line));
      });
    });
  }

  send(frame: DownFrame): void {
    this.#child.stdin?.write(`${encodeFrame(frame)}\n`);
  }

  /** Commands, and waits for the result. */
  command(cmd: HostCommand, id = randomUUID()): Promise<CommandResult> {
    const result = new Promise<CommandResult>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.send({ t: 'cmd', id, cmd, expires: Date.now() + 600_000 });
    return result;
  }

  /** As {@link command}, when the result must be of one kind. */
  async must<K extends CommandResult['kind']>(kind: K, cmd: HostCommand): Promise<Extract<CommandResult, { kind: K }>> {
    const result = await this.command(cmd);
    if (result.kind === kind) return result as Extract<CommandResult, { kind: K }>;
    throw new Error(`${cmd.kind} was answered with ${result.kind}`);
  }

  /** The process is killed; what it started lives on. */
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }

  #heard(frame: UpFrame): void {
    if (frame.t === 'hello') {
      this.send({ t: 'welcome', conn: 'c', now: Date.now(), heartbeatMs: 480_000, rotateMs: 5_700_000 });
    } else if (frame.t === 'res') {
      this.send({ t: 'got', n: frame.n });
      const waiting = this.#waiting.get(frame.id);
      this.#waiting.delete(frame.id);
      if (frame.result) waiting?.resolve(frame.result);
      else waiting?.reject(fromWire(frame.error!));
    } else if (frame.t === 'progress') this.progress.push(frame.text);
    else if (frame.t === 'report') {
      this.reports.push(frame);
      this.send({ t: 'got', n: frame.n });
    } else if (frame.t === 'event') this.send({ t: 'got', n: frame.n });
    else if (frame.t === 'hb') this.send({ t: 'hb' });
    else {
      const answer = this.#answer(frame);
      if (answer) this.send(answer);
    }
  }
}

/** Two hosts and what stands between them. Host 1 is `foo`, host 2 `bar`. */
export class MoveWorld {
  readonly lab: Lab;
  readonly store: MemoryStore;
  readonly chunks: Up<'chunk'>[] = [];
  readonly #connectors = new Map<number, Connector>();
  fingerprint = '';
  imageBytes = 0;

  constructor(lab: Lab) {
    this.lab = lab;
    this.store = new MemoryStore(lab.address);
  }

  async open(): Promise<void> {
    await this.store.listen(this.lab.address);
    const { path, fingerprint, size } = await ensureImage('busybox');
    this.fingerprint = fingerprint;
    this.imageBytes = size;
    this.store.objects.set('image', await readFile(path));
  }

  /** The connector of a host, started if it is not there. */
  async at(host: number): Promise<Connector> {
    const connector =
      this.#connectors.get(host) ?? new Connector(this.lab, host, this.store, (frame) => this.#answer(host, frame));
    this.#connectors.set(host, connector);
    await connector.ready;
    return connector;
  }

  /** Kills the connector of a host and starts another one. */
  async restart(host: number): Promise<Connector> {
    await this.kill(host);
    return this.at(host);
  }

  async kill(host: number): Promise<void> {
    await this.#connectors.get(host)?.kill();
    this.#connectors.delete(host);
  }

  async close(): Promise<void> {
    for (const connector of this.#connectors.values()) await connector.kill();
    this.store.close();
  }

  #answer(host: number, frame: UpFrame): DownFrame | undefined {
    const key = (move: string, attempt: number, name: string): string =>
      `${this.store.url}/${encodeURIComponent(`transfer/${move}/${attempt}/${name}`)}`;
    if (frame.t === 'ask') {
      const part = { url: `${this.store.url}/image`, length: this.imageBytes, sha256: this.fingerprint };
      return { t: 'answer', id: frame.id, parts: [part], total: 1 };
    }
    if (frame.t === 'ask-put') {
      const puts = frame.objects.map(({ name, sha256 }) => ({
        url: key(frame.move, frame.attempt, name),
        headers: { 'x-sha256': sha256 },
      }));
      return { t: 'answer', id: frame.id, puts };
    }
    if (frame.t === 'ask-get') {
      const { id, move, attempt, names } = frame;
      return { t: 'answer', id, urls: names.map((name) => key(move, attempt, name)) };
    }
    if (frame.t === 'chunk') {
      this.chunks.push(frame);
      this.#connectors.get(3 - host)?.send(frame);
    }
    return undefined;
  }
}
