/** The virtual hosts' root filesystem: built once for each version of the recipe, then shared read-only by all hosts. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '#shared/errors.ts';
import { run } from './run.ts';

const RECIPE = fileURLToPath(new URL('build-base.sh', import.meta.url));
const APT_FOLDER = '/etc/apt';
const BUILD_TIMEOUT_MS = 15 * 60_000;
const KEY_LENGTH = 16;

/** Where built filesystems and images are kept between runs: FAIRLEAD_CACHE, else /var/cache/fairlead-lab. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env['FAIRLEAD_CACHE'] ?? '/var/cache/fairlead-lab';
}

/** Folder with the hosts' root filesystem; builds it (half a minute) when no cached one matches the recipe. */
export async function ensureBase(): Promise<string> {
  return buildOnce({ kind: 'base', recipe: RECIPE, args: [await debianMirror()] });
}

export interface Build {
  kind: string;
  /** A bash script: `recipe OUT args...` makes OUT, a file or folder, by a rename; it does nothing when OUT exists. */
  recipe: string;
  args: string[];
  /** Of OUT's name, such as `.tar.gz`. */
  ending?: string;
}

/**
 * Builds something once for each content of its recipe, also when several processes ask at once: recipes run under a lock.
 * @returns OUT
 * @throws FairleadError `unavailable` with the end of the recipe's log
 */
export async function buildOnce({ kind, recipe, args, ending = '' }: Build): Promise<string> {
  const key = createHash('sha256')
    .update(await readFile(recipe))
    .digest('hex')
    .slice(0, KEY_LENGTH);
  const out = join(cacheFolder(), `${kind}-${key}${ending}`);
  if (existsSync(out)) return out;
  await mkdir(cacheFolder(), { recursive: true });
  const result = await run(['flock', `${out}.lock`, 'bash', recipe, out, ...args], { timeoutMs: BUILD_TIMEOUT_MS });
  if (result.code === 0) return out;
  const log = existsSync(`${out}.log`) ? await readFile(`${out}.log`, 'utf8') : '';
  const why = `${result.stderr}${log}`.trim().split('\n').slice(-12).join('\n');
  throw new FairleadError('unavailable', `The lab's ${kind} was not built. Log: ${out}.log. It ends with:\n${why}`);
}

/**
 * The Debian mirror this machine's apt already uses, or '' when it uses none (Ubuntu): mmdebstrap then takes its own
 * default. FAIRLEAD_DEBIAN_MIRROR overrides both.
 */
export async function debianMirror(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  return env['FAIRLEAD_DEBIAN_MIRROR'] ?? findDebianMirror(await aptSources()) ?? '';
}

/** The first archive in apt's sources (either format) that serves Debian itself: not security, not another vendor. */
export function findDebianMirror(sources: string): string | undefined {
  const deb822 = sources.matchAll(/^URIs:\s*(\S+)/gm);
  const oneLine = sources.matchAll(/^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/gm);
  return [...deb822, ...oneLine].map((match) => match[1] ?? '').find((uri) => /\/debian\/?$/.test(uri));
}

async function aptSources(): Promise<string> {
  const folder = join(APT_FOLDER, 'sources.list.d');
  const names = existsSync(folder) ? (await readdir(folder)).sort() : [];
  const files = [join(APT_FOLDER, 'sources.list'), ...names.map((name) => join(folder, name))];
  const texts = await Promise.all(files.filter((file) => existsSync(file)).map((file) => readFile(file, 'utf8')));
  return texts.join('\n');
}
