import { join } from 'node:path';

import { FairleadError, messageOf } from '#shared/errors.ts';

/** How to reach a control plane, and where that was found. */
export interface Settings {
  /** `https://host:port`, no path. */
  readonly url: string;
  readonly token: string;
  /** SHA-256 of the server's certificate, lower-case hex; absent where a public authority vouches for it. */
  readonly fingerprint?: string;
  /** For messages: which file or variable said so. */
  readonly source: string;
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The text of a file; undefined when there is none. Other failures are thrown. */
  readonly read: (path: string) => string | undefined;
}

const START_ONE = 'Start one with: fairlead up';

/**
 * The settings to use: `--data` or FAIRLEAD_DATA, then FAIRLEAD_URL with FAIRLEAD_TOKEN, then a `fairlead up` that runs on this machine,
 * then the default data directory.
 * @throws FairleadError `unavailable` when nothing is set up, naming each place looked at; `bad_config` for one that is set up wrongly
 */
export function findSettings(dataDir: string | undefined, around: Surroundings): Settings {
  const { env, read } = around;
  const named = dataDir ?? nonEmpty(env['FAIRLEAD_DATA']);
  if (named !== undefined) {
    const path = join(named, 'client.json');
    const text = read(path);
    if (text !== undefined) return parseSettings(text, path);
    throw new FairleadError(
      'unavailable',
      `There is no control plane's data in ${named} (no client.json). ${START_ONE} --data ${named}`,
    );
  }

  if (nonEmpty(env['FAIRLEAD_URL']) !== undefined) return fromEnvironment(env);

  const places = [localFile(around), join(defaultDataDir(around), 'client.json')];
  for (const path of places) {
    const text = read(path);
    if (text !== undefined) return parseSettings(text, path);
  }
  const looked = ['FAIRLEAD_DATA', 'FAIRLEAD_URL', ...places].join(', ');
  throw new FairleadError('unavailable', `No control plane is set up here (looked at ${looked}). ${START_ONE}`);
}

/** Where a running `fairlead up` tells clients on the same machine about itself. */
export function localFile({ env, home }: Pick<Surroundings, 'env' | 'home'>): string {
  return join(nonEmpty(env['XDG_STATE_HOME']) ?? join(home, '.local', 'state'), 'fairlead', 'local.json');
}

/** Where `fairlead up` keeps its data when not told. */
export function defaultDataDir({ env, home }: Pick<Surroundings, 'env' | 'home'>): string {
  return join(nonEmpty(env['XDG_DATA_HOME']) ?? join(home, '.local', 'share'), 'fairlead');
}

function fromEnvironment(env: Surroundings['env']): Settings {
  const token = nonEmpty(env['FAIRLEAD_TOKEN']);
  if (token === undefined) {
    throw new FairleadError(
      'bad_config',
      'FAIRLEAD_URL is set but FAIRLEAD_TOKEN is not: set it to an API token of that control plane.',
    );
  }
  return check({ url: env['FAIRLEAD_URL'], token, fingerprint: nonEmpty(env['FAIRLEAD_FINGERPRINT']) }, 'FAIRLEAD_URL');
}

function parseSettings(text: string, path: string): Settings {
  try {
    return check(JSON.parse(text) as Record<string, unknown>, path);
  } catch (cause) {
    if (cause instanceof FairleadError) throw cause;
    throw new FairleadError(
      'bad_config',
      `${path} is not what "fairlead up" writes: ${messageOf(cause)}. Remove it and start "fairlead up" again.`,
      { cause },
    );
  }
}

function check(raw: Record<string, unknown>, source: string): Settings {
  const { url, token, fingerprint } = raw;
  const wrong = (what: string) => new FairleadError('bad_config', `${source}: ${what}`);
  if (typeof url !== 'string' || !URL.canParse(url)) throw wrong('the url must look like https://host:port');
  const parsed = new URL(url);
  if (parsed.protocol !== 'https:') throw wrong('the url must begin with https://, for it carries a secret token');
  if (typeof token !== 'string' || token === '') throw wrong('there is no token');
  if (fingerprint === undefined || fingerprint === null) return { url: parsed.origin, token, source };
  const plain = typeof fingerprint === 'string' ? fingerprint.replaceAll(':', '').toLowerCase() : '';
  if (!/^[0-9a-f]{64}$/.test(plain)) throw wrong('the fingerprint must be 64 hex digits (SHA-256)');
  return { url: parsed.origin, token, fingerprint: plain, source };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}
