import { hostname } from 'node:os';
import { join } from 'node:path';

import { messageOf } from '#shared/errors.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Log, Ports, Random } from '../../functions/ports/ports.ts';
import type { ChaosOptions } from './chaos.ts';
import { systemClock, type TimerClock } from './clock.ts';
import { claimDataDirectory } from './data-directory.ts';
import { readIfThere, writePrivateFile } from './durable-file.ts';
import { openFileObjects } from './file-objects.ts';
import { openGateway } from './gateway.ts';
import { createJobs } from './jobs.ts';
import { loadKeys } from './keys.ts';
import { parseListen, parsePublicUrl, urlOf } from './listen.ts';
import { systemRandom } from './random.ts';
import type { GatewayRules } from './rules.ts';
import { openSqliteRecords } from './sqlite-records.ts';

/** What the functions give to whoever runs them. */
export interface ControlPlane {
  readonly createFunctions: (ports: Ports) => Functions;
  /** Makes a token for the user of this machine; called when the client file holds none. */
  readonly bootstrapLocalUser: (ports: Ports) => Promise<{ token: string }>;
}

export interface EmbeddedOptions {
  /** `host:port`; port 0 takes any. */
  readonly listen: string;
  readonly dataDir: string;
  /** Where users and hosts reach it, when that is not the address it listens on. */
  readonly publicUrl?: string | undefined;
  readonly log: Log;
  readonly version: string;
  readonly controlPlane: ControlPlane;
  readonly clock?: TimerClock;
  readonly random?: Random;
  readonly rules?: Partial<GatewayRules>;
  readonly chaos?: ChaosOptions;
}

export interface Embedded {
  /** The public URL. */
  readonly url: string;
  /** SHA-256 of the TLS certificate, to be pinned. */
  readonly fingerprint: string;
  /** The file with URL, token and fingerprint for the user of this machine. */
  readonly clientFile: string;
  stop(): Promise<void>;
}

/** What the CLI reads to reach a control plane on the same machine. */
export interface ClientFile {
  readonly url: string;
  readonly fingerprint: string;
  readonly token: string;
}

/**
 * Starts a whole control plane in this process: records, objects, keys, gateway, jobs and the functions.
 * @throws FairleadError `busy` when the data directory is in use, `unavailable` when the port is or a file is damaged.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { log, clock = systemClock(), random = systemRandom } = options;
  const undo = new AsyncDisposableStack();
  try {
    const address = parseListen(options.listen);
    const published = options.publicUrl === undefined ? undefined : parsePublicUrl(options.publicUrl);
    const data = claimDataDirectory(options.dataDir);
    undo.defer(() => data.release());
    const keys = loadKeys({
      directory: join(data.path, 'keys'),
      names: namesOf(address.host, published),
      clock,
      random,
    });
    const records = openSqliteRecords(join(data.path, 'records.db'));
    undo.defer(() => records.close());
    const jobs = createJobs(clock, log);
    undo.defer(() => jobs.stop());
    const { rules, chaos } = options;
    const gateway = await openGateway({ listen: address, tls: keys.tls, clock, random, log, rules, chaos });
    undo.defer(() => gateway.stop());

    const publicUrl = published ?? urlOf(gateway.address);
    const root = join(data.path, 'objects');
    const objects = await openFileObjects({ root, publicUrl, signingKey: keys.signingKey, clock });
    const deployment = {
      publicUrl,
      certificate: keys.tls.certificate,
      certificateFingerprint: keys.fingerprint,
      ticketKey: keys.ticketKey,
      version: options.version,
    };
    const ports: Ports = { records, objects, links: gateway.links, jobs, clock, random, log, deployment };
    const functions = options.controlPlane.createFunctions(ports);
    const clientFile = join(data.path, 'client.json');
    await writeClientFile(clientFile, ports, options.controlPlane);
    jobs.start(
      (job) => functions.job(job),
      () => records.sweepExpired(clock.now()),
    );
    await functions.job({ kind: 'restarted' });
    gateway.serve({ functions, objects: objects.handle });
    log.info('Fairlead is up', { url: publicUrl, fingerprint: keys.fingerprint, data: data.path });
    const running = undo.move();
    return {
      url: publicUrl,
      fingerprint: keys.fingerprint,
      clientFile,
      stop: async () => {
        if (running.disposed) return;
        log.info('Fairlead is stopping');
        await running.disposeAsync();
      },
    };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}

/** The names a new certificate is made for. */
function namesOf(listenHost: string, publicUrl: string | undefined): string[] {
  const wildcard = listenHost === '::' || listenHost === '0.0.0.0';
  const published = publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')];
  return [...published, ...(wildcard ? [] : [listenHost]), hostname(), 'localhost', '127.0.0.1', '::1'];
}

/** Writes the client file with the present URL; the token stays, or is made when there is none (any more). */
async function writeClientFile(path: string, ports: Ports, { bootstrapLocalUser }: ControlPlane): Promise<void> {
  const token = keptToken(path, ports.log) ?? (await bootstrapLocalUser(ports)).token;
  const { publicUrl: url, certificateFingerprint: fingerprint = '' } = ports.deployment;
  const client: ClientFile = { url, fingerprint, token };
  writePrivateFile(path, `${JSON.stringify(client, null, 2)}\n`);
}

function keptToken(path: string, log: Log): string | undefined {
  try {
    const kept: unknown = JSON.parse(readIfThere(path)?.toString() ?? '{}');
    return typeof kept === 'object' && kept !== null && 'token' in kept && typeof kept.token === 'string'
      ? kept.token
      : undefined;
  } catch (error) {
    log.error('client.json cannot be read; it is made anew', { reason: messageOf(error) });
    return undefined;
  }
}
