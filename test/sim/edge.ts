import { createSecretKey } from 'node:crypto';

import { FairleadError } from '#shared/errors.ts';
import { createFunctions } from '../../functions/create.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Job } from '../../functions/ports/jobs.ts';
import type { Log, Ports } from '../../functions/ports/ports.ts';
import type { Records } from '../../functions/ports/records.ts';
import { Gateway, type Site } from './gateway.ts';
import { Invocations } from './invocations.ts';
import type { Run } from './run.ts';
import { Store } from './store.ts';
import type { Mortal } from './timeline.ts';

export const PUBLIC_URL = 'https://fairlead.example:8443';
const BEGIN = Date.parse('2026-03-01T00:00:00Z');
/** An asynchronous invocation that failed is tried again, so often. */
const JOB_ATTEMPTS = 3;

/** What a request came to; undefined when its answer was lost. */
export interface Answer {
  readonly status: number;
  readonly metadata: never;
  readonly error: string;
}

/** The control plane of a run: the real functions over ports that fail. */
export class Edge {
  readonly store = new Store();
  readonly gateway: Gateway;
  readonly #run: Run;
  readonly #invocations: Invocations;
  readonly #functions: Functions;
  /** Once the first user is there. */
  token = '';
  /** Told of all that is published or answered. */
  watch: (said: { operation: unknown }) => void = () => {};

  constructor(run: Run) {
    this.#run = run;
    this.#invocations = new Invocations(run);
    this.gateway = new Gateway(run, this.#invocations);
    const real = createFunctions(this.ports());
    this.#functions = run.build.functions?.(real) ?? real;
    this.gateway.functions = this.#functions;
  }

  /** What the functions' clocks show, but for their skew: milliseconds since 1970. */
  get wallClock(): number {
    return BEGIN + Math.floor(this.#run.timeline.now);
  }

  ports(): Ports {
    const { timeline, chance, build } = this.#run;
    const call = this.#invocations.call.bind(this.#invocations);
    const { links } = this.gateway;
    const records = this.#records();
    return {
      records: build.records?.(records) ?? records,
      objects: {
        signGet: async (key: string) => `https://objects.example/${key}`,
        list: () => call('list', () => []),
      } as unknown as Ports['objects'],
      links: {
        post: async (id, frame) => {
          if (frame.t === 'welcome' && frame.secret) this.#run.secrets.add(frame.secret.value);
          return await call('post', () => links.post(id, frame));
        },
        postText: async (id, text) => {
          this.#published(text);
          return await call('post', () => links.postText(id, text));
        },
        close: async (id) => {
          await call('close', () => links.close(id));
        },
      },
      jobs: { enqueue: (job) => call('enqueue', () => this.job(job)) },
      clock: {
        now: () => this.wallClock + this.#invocations.skew,
        sleep: (ms) => timeline.sleep(ms, this.#invocations.caller),
      },
      random: chance.fork(),
      log: this.#log(),
      deployment: { publicUrl: PUBLIC_URL, ticketKey: createSecretKey(Buffer.alloc(32, 2)), version: '0.1.0' },
    };
  }

  #records(): Records {
    const { store } = this;
    const { nemesis, trace } = this.#run;
    const call = this.#invocations.call.bind(this.#invocations);
    return {
      get: (key) => call(`get ${key.pk}`, () => store.get(key)),
      query: (pk, query) => call(`query ${pk}`, () => store.query(pk, query)),
      transact: (writes) =>
        call(`transact ${writes[0]?.key.pk}`, () => {
          if (!nemesis.does('unknown')) return store.transact(writes);
          const applied = nemesis.coin() && attempt(() => store.transact(writes));
          trace(() => `✗ the outcome of a transaction is unknown (${applied ? 'applied' : 'not applied'})`);
          throw new FairleadError('unavailable', 'The store did not say whether it wrote. Look before you repeat.');
        }),
    };
  }

  /** A request of a user or a host. Undefined: the answer was lost, or nobody answered. */
  async http(
    method: string,
    path: string,
    body?: unknown,
    from?: { site: Site; process: Mortal },
  ): Promise<Answer | undefined> {
    const { timeline, nemesis } = this.#run;
    await timeline.sleep(nemesis.travel(), from?.process);
    if (from?.site.partitioned || !this.gateway.isUp) return undefined;
    const [rawPath = '', rawQueryString = ''] = path.split('?');
    const event = {
      version: '2.0',
      rawPath,
      rawQueryString,
      headers: from ? {} : { authorization: `Bearer ${this.token}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      isBase64Encoded: false,
      requestContext: { http: { method, sourceIp: '192.0.2.1' }, requestId: 'r' },
    } as const;
    const result = await this.#invocations
      .invoke(`${method} ${path}`, () => this.#functions.http(event))
      .catch(() => undefined);
    await timeline.sleep(nemesis.travel(), from?.process);
    if (result === undefined || nemesis.does('lostAnswer')) return undefined;
    const { metadata, error = '' } = JSON.parse(result.body) as { metadata: never; error?: string };
    this.#answered(metadata);
    return { status: result.statusCode, metadata, error };
  }

  /** Runs a job as an asynchronous invocation. */
  job(job: Job, attempt = 1): void {
    const { timeline } = this.#run;
    timeline.after(1, () => {
      if (!this.gateway.isUp) return;
      const run = this.#invocations.invoke(job.kind, () => this.#functions.job(job));
      run
        .then(() => job.kind === 'sweep' && this.store.sweep(this.wallClock))
        .catch(
          () =>
            attempt < JOB_ATTEMPTS &&
            job.kind !== 'sweep' &&
            timeline.after(1000 * attempt, () => this.job(job, attempt + 1)),
        );
    });
  }

  /** The process of the control plane ends, and begins anew after a while. */
  async restart(downMs: number): Promise<void> {
    const { timeline } = this.#run;
    if (!this.gateway.isUp) return;
    this.#run.trace(() => `# the control plane stops for ${downMs} ms`);
    this.#invocations.killAll();
    this.gateway.stop();
    await timeline.sleep(downMs);
    for (let begun = false; !begun;) {
      begun = await this.#invocations
        .invoke('restarted', () => this.#functions.job({ kind: 'restarted' }))
        .then(
          () => true,
          () => false,
        );
      await timeline.sleep(100);
    }
    this.gateway.isUp = true;
    this.#run.trace(() => '# the control plane is up again');
  }

  /** What an answer says of operations is checked, and what it tells in confidence must be found nowhere else. */
  #answered(metadata: unknown): void {
    if (typeof metadata !== 'object' || metadata === null) return;
    const {
      nonce,
      token,
      metadata: inner,
    } = metadata as { nonce?: string; token?: string; metadata?: { fds?: object } };
    const secret = /^flp_.*_(.*)$/.exec(token ?? '')?.[1];
    const given = [nonce, secret, ...Object.values(inner?.fds ?? {})] as (string | undefined)[];
    for (const value of given) if (value !== undefined) this.#run.secrets.add(value);
    for (const one of [metadata, ...Object.values(metadata).flat()] as { class?: string }[]) {
      if (one?.class !== undefined) this.watch({ operation: one });
    }
  }

  #published(text: string): void {
    const event = JSON.parse(text) as { type: string; metadata: unknown };
    if (event.type === 'operation') this.watch({ operation: event.metadata });
  }

  #log(): Log {
    const write =
      (level: string) =>
      (message: string, fields: object = {}) => {
        const line = `${level} ${message} ${JSON.stringify(fields)}`;
        this.#run.trace(() => `  log: ${line}`);
        refuseSecrets(this.#run, line, 'a log line');
        if (message === 'request failed') this.#run.violated('no handler crashes', line);
      };
    return { info: write('info'), error: write('error') };
  }
}

/** I8: finds a secret that is still good for something. */
export function refuseSecrets(run: Run, text: string, where: string): void {
  for (const [token] of text.matchAll(/[0-9a-f]{64}/g)) {
    if (run.secrets.has(token))
      run.violated('I8 no live secret is stored or logged', `${where} holds one: ${text.slice(0, 300)}`);
  }
}

function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}
