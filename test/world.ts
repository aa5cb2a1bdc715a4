import { createSecretKey, generateKeyPairSync, sign as signEd25519 } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

import { decodeDown, encodeFrame, type DownFrame } from '#shared/link/frames.ts';
import { createFunctions } from '../functions/create.ts';
import { sha256 } from '../functions/domain/secrets.ts';
import { ROLES, type Role } from '../functions/domain/trust/actor.ts';
import { createApiToken, createUser } from '../functions/domain/trust/users.ts';
import type { Functions } from '../functions/functions.ts';
import type { Job } from '../functions/ports/jobs.ts';
import type { Links } from '../functions/ports/links.ts';
import type { Clock, Log, Ports, Random } from '../functions/ports/ports.ts';
import { queryAll, type Key, type Records, type Stored } from '../functions/ports/records.ts';
import { openFileObjects } from '../infra/embedded/file-objects.ts';
import { openSqliteRecords } from '../infra/embedded/sqlite-records.ts';

/**
 * A control plane for tests: the real functions over real SQLite records and real file objects, with a virtual clock, seeded randomness
 * and websockets that only write down what was sent.
 */
export interface World extends AsyncDisposable {
  readonly ports: Ports;
  readonly functions: Functions;
  readonly clock: VirtualClock;
  readonly links: FakeLinks;
  readonly records: SpiedRecords;
  /** What was enqueued and not run yet. */
  readonly jobs: Job[];
  readonly logged: string[];
  /** An API token for each role, and the name of its user is the role's. */
  readonly tokens: Readonly<Record<Role, string>>;
  /** One request; as fleet-admin unless told otherwise (`token: null` sends none). */
  api(method: string, path: string, body?: unknown, options?: ApiOptions): Promise<ApiAnswer>;
  /** Runs what was enqueued, until nothing is. */
  runJobs(): Promise<void>;
  sweep(): Promise<void>;
  /** Every record there is. */
  dump(): Promise<Stored<unknown>[]>;
}

export interface ApiOptions {
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As it was sent. */
  readonly text: string;
  /** `metadata` of the envelope. */
  readonly metadata: never;
  readonly error: string;
  readonly type: string;
}

export const PUBLIC_URL = 'https://fairlead.example:8443';
const START = Date.parse('2026-03-01T00:00:00Z');

/** Opens a world; the same seed gives the same ids and secrets. `change` puts other ports in place of its own. */
export async function openWorld(seed = 1, change: (ports: Ports) => Ports = (ports) => ports): Promise<World> {
  const root = await mkdtemp(join(tmpdir(), 'fairlead-world-'));
  const clock = new VirtualClock();
  const random = seededRandom(seed);
  const store = openSqliteRecords(join(root, 'records.db'));
  const records = new SpiedRecords(store);
  const key = (fill: number) => createSecretKey(Buffer.alloc(32, fill));
  const objects = await openFileObjects({
    root: join(root, 'objects'),
    publicUrl: PUBLIC_URL,
    signingKey: key(1),
    clock,
  });
  const links = new FakeLinks();
  const jobs: Job[] = [];
  const logged: string[] = [];
  const deployment = { publicUrl: PUBLIC_URL, ticketKey: key(2), version: '0.1.0' };
  const log = collectingLog(logged);
  const enqueue = async (job: Job) => void jobs.push(job);
  const ports = change({ records, objects, links, jobs: { enqueue }, clock, random, log, deployment });
  const functions = createFunctions(ports);
  const tokens = await tokensOfRoles(ports);
  const runJobs = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await functions.job(job);
  };
  const world: World = {
    ports,
    functions,
    clock,
    links,
    records,
    jobs,
    logged,
    tokens,
    runJobs,
    // Through `this`, so that a copy of the world with other functions asks those.
    api(method, path, body, options = {}) {
      return request(this.functions, tokens['fleet-admin'], method, path, body, options);
    },
    sweep: () => functions.job({ kind: 'sweep' }),
    dump: () => records.dump(),
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await rm(root, { recursive: true });
    },
  };
  return world;
}

async function tokensOfRoles(ports: Ports): Promise<Record<Role, string>> {
  const tokens = {} as Record<Role, string>;
  for (const role of ROLES) {
    await createUser(ports, undefined, role, role);
    tokens[role] = (await createApiToken(ports, undefined, role, { description: '', days: 90 })).token;
  }
  return tokens;
}

async function request(
  functions: Functions,
  admin: string,
  method: string,
  path: string,
  body: unknown,
  { token = admin, headers = {} }: ApiOptions,
): Promise<ApiAnswer> {
  const [rawPath = '', rawQueryString = ''] = path.split('?');
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const result = await functions.http({
    version: '2.0',
    rawPath,
    rawQueryString,
    headers: { ...(token !== null && { authorization: `Bearer ${token}` }), ...headers },
    ...(text !== undefined && { body: text }),
    isBase64Encoded: false,
    requestContext: { http: { method, sourceIp: '192.0.2.1' }, requestId: 'r' },
  });
  const isJson = result.body !== '' && result.headers['content-type']?.startsWith('application/json');
  const json: unknown = isJson ? JSON.parse(result.body) : {};
  const { metadata, error = '', type = '' } = json as { metadata: never; error?: string; type?: string };
  return { status: result.statusCode, headers: result.headers, text: result.body, metadata, error, type };
}

/** Time that passes only when somebody sleeps or a test says so. */
export class VirtualClock implements Clock {
  #now = START;

  now(): number {
    return this.#now;
  }

  /** Several that sleep at once wake in the order of their times, more or less; none sleeps in vain. */
  async sleep(ms: number): Promise<void> {
    const until = this.#now + ms;
    await turn();
    this.#now = Math.max(this.#now, until);
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}

/** A generator of numbers in [0, 2^32) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

function seededRandom(seed: number): Random {
  const next = seeded(seed);
  const bytes = (length: number) => Uint8Array.from({ length }, () => next() & 0xff);
  return {
    bytes,
    uuid: () => {
      const hex = Buffer.from(bytes(16)).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
  };
}

function collectingLog(lines: string[]): Log {
  const write = (level: string) => (message: string, fields?: object) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  return { info: write('info'), error: write('error') };
}

/** Records that count what is read and know every partition that was written. */
export class SpiedRecords implements Records {
  readonly #records: Records;
  readonly #partitions = new Set<string>();
  /** gets and queries so far. */
  reads = 0;
  /** Called before each transaction; a test makes others act, or fail, just then. */
  beforeTransaction: (() => Promise<void>) | undefined;

  constructor(records: Records) {
    this.#records = records;
  }

  get<T>(key: Key): Promise<Stored<T> | undefined> {
    this.reads++;
    return this.#records.get(key);
  }

  query<T>(...args: Parameters<Records['query']>) {
    this.reads++;
    return this.#records.query<T>(...args);
  }

  async transact(...[writes]: Parameters<Records['transact']>): Promise<void> {
    for (const { op, key } of writes) if (op === 'put') this.#partitions.add(key.pk);
    const before = this.beforeTransaction;
    this.beforeTransaction = undefined;
    await before?.();
    await this.#records.transact(writes);
  }

  async dump(): Promise<Stored<unknown>[]> {
    const pages = await Promise.all([...this.#partitions].toSorted().map((pk) => queryAll(this.#records, pk)));
    return pages.flat();
  }
}

interface Wire {
  readonly frames: DownFrame[];
  readonly texts: string[];
  /** Who reads it, besides the test. */
  readonly reader: ((frame: DownFrame) => void) | undefined;
  open: boolean;
}

/** Websockets: what is posted to an open one is written down and checked as its receiver would; others are gone. */
export class FakeLinks implements Links {
  readonly #wires = new Map<string, Wire>();
  #count = 0;
  /** Called before each post to an open connection; what it throws is what the gateway says. */
  beforePost: ((connection: string, frame: DownFrame) => void) | undefined;

  open(reader?: (frame: DownFrame) => void): string {
    const connection = `conn-${++this.#count}`;
    this.#wires.set(connection, { frames: [], texts: [], reader, open: true });
    return connection;
  }

  isOpen(connection: string): boolean {
    return this.#wires.get(connection)?.open ?? false;
  }

  frames(connection: string): readonly DownFrame[] {
    return this.#wires.get(connection)?.frames ?? [];
  }

  texts(connection: string): readonly string[] {
    return this.#wires.get(connection)?.texts ?? [];
  }

  async post(connection: string, frame: DownFrame): Promise<'sent' | 'gone'> {
    const wire = this.#wires.get(connection);
    if (wire?.open !== true) return 'gone';
    this.beforePost?.(connection, frame);
    const received = decodeDown(encodeFrame(frame));
    wire.frames.push(received);
    wire.reader?.(received);
    return 'sent';
  }

  async postText(connection: string, text: string): Promise<'sent' | 'gone'> {
    const wire = this.#wires.get(connection);
    if (wire?.open !== true) return 'gone';
    wire.texts.push(text);
    return 'sent';
  }

  async close(connection: string): Promise<void> {
    const wire = this.#wires.get(connection);
    if (wire) wire.open = false;
  }
}

/** An Ed25519 key and what its holder signs, in the form the connector does. */
export function signingKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { kty = '', crv = '', x = '' } = publicKey.export({ format: 'jwk' });
  const thumbprint = Buffer.from(sha256(JSON.stringify({ crv, kty, x })), 'hex').toString('base64url');
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    jwk: { kty, crv, x },
    sign: (typ: string, payload: unknown, header: object = {}): string => {
      const text = `${encode({ alg: 'EdDSA', typ, kid: thumbprint, ...header })}.${encode(payload)}`;
      return `${text}.${signEd25519(null, Buffer.from(text), privateKey).toString('base64url')}`;
    },
  };
}
