/**
 * Installs what is missing before anything else can run. Plain JavaScript that runs on Node 20 with no package present,
 * because it is what brings the packages.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {(line: string) => void} Say */
/** @typedef {{ ok: true, installed: string[] } | { ok: false, reason: string }} Outcome */

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const APT_TIMEOUT_MS = 10 * 60_000;
const NPM_TIMEOUT_MS = 15 * 60_000;
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** What the lab takes from the machine. Everything else lives in the hosts' own root filesystem. */
const DEBIAN_NEEDS = [
  { name: 'mmdebstrap', has: command('mmdebstrap'), why: "builds the virtual hosts' root filesystem" },
  { name: 'debian-archive-keyring', has: debianKeys, why: 'verifies the Debian packages in it' },
  { name: 'iproute2', has: command('ip', 'tc'), why: 'makes the networks between the virtual hosts' },
  { name: 'nftables', has: command('nft'), why: 'NAT, closed inbound sides and the packet counters' },
  { name: 'util-linux', has: command('unshare', 'nsenter', 'flock'), why: "makes the hosts' namespaces" },
  { name: 'e2fsprogs', has: command('mkfs.ext4'), why: 'makes the small disks of the full-disk tests' },
  { name: 'xz-utils', has: command('xz'), why: 'packs images' },
  { name: 'zstd', has: command('zstd'), why: 'packs images and file trees' },
];

/** @param {string[]} names */
function command(...names) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS].filter(Boolean);
  return () => names.every((name) => folders.some((folder) => isExecutable(join(folder, name))));
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function debianKeys() {
  return existsSync('/usr/share/keyrings/debian-archive-keyring.gpg');
}

/**
 * Why node_modules does not match package-lock.json, or undefined when it does. Compared by content: times lie after a
 * checkout or a copy.
 * @param {string} project
 * @returns {string | undefined}
 */
export function staleNodePackages(project = PROJECT) {
  const installedLock = join(project, 'node_modules/.package-lock.json');
  if (!existsSync(installedLock)) return 'node_modules is missing';
  const wanted = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedLock, 'utf8')).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const present = installed[path];
    // Optional packages of other platforms are rightly absent.
    if (present === undefined ? !entry.optional : present.version !== entry.version) {
      return `${path} is not at the locked version ${entry.version}`;
    }
  }
  return undefined;
}

/**
 * Runs `npm ci` when node_modules is missing or does not match the lock file, and says so first.
 * @param {{ project?: string, say?: Say }} [options]
 * @returns {Outcome}
 */
export function ensureNodePackages({ project = PROJECT, say = console.error } = {}) {
  const reason = staleNodePackages(project);
  if (reason === undefined) return { ok: true, installed: [] };
  say(`Installing the Node packages of package-lock.json with "npm ci", because ${reason}.`);
  const run = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: project,
    stdio: ['ignore', 2, 2],
    timeout: NPM_TIMEOUT_MS,
  });
  if (run.status === 0) return { ok: true, installed: ['node_modules'] };
  const how = run.error ? run.error.message : `exit status ${run.status ?? run.signal}`;
  return { ok: false, reason: `"npm ci" failed (${how}). Run it in ${project} and read its messages.` };
}

/** The Debian packages the lab needs and this machine lacks, with the reason for each. */
export function missingDebianPackages() {
  return DEBIAN_NEEDS.filter((need) => !need.has()).map(({ name, why }) => ({ name, why }));
}

/**
 * Installs what the lab needs with apt, as root on Debian or Ubuntu; prints what and why first. Never throws for a machine
 * on which that cannot be done: the answer says why.
 * @param {{ say?: Say }} [options]
 * @returns {Outcome}
 */
export function ensureDebianPackages({ say = console.error } = {}) {
  const missing = missingDebianPackages();
  if (missing.length === 0) return { ok: true, installed: [] };
  const names = missing.map((need) => need.name);
  const cannot = whyNoApt();
  if (cannot) return { ok: false, reason: `${names.join(', ')} missing, and ${cannot}` };

  say('Installing with apt, for the lab of virtual hosts:');
  for (const need of missing) say(`  ${need.name} (${need.why})`);
  if (!installable(names)) {
    say('The package lists do not know them yet: running "apt-get update".');
    aptGet(['update']);
  }
  const failure = install(names) && (aptGet(['update']), install(names));
  return failure ? { ok: false, reason: `apt-get install failed: ${failure}` } : { ok: true, installed: names };
}

/** @returns {string | undefined} */
function whyNoApt() {
  const family = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (!/^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(family))
    return 'this is neither Debian nor Ubuntu: install them by hand';
  if (!command('apt-get')()) return 'apt-get is missing: install them by hand';
  if (process.getuid?.() !== 0) return 'only root may install them: run this again as root';
  return undefined;
}

/** Lists that are too old fail at the download; install() then runs once more after an update. @param {string[]} names */
function installable(names) {
  const run = spawnSync('apt-cache', ['policy', ...names], { encoding: 'utf8', timeout: APT_TIMEOUT_MS });
  const candidates = run.stdout?.match(/^ {2}Candidate: (?!\(none\)).+$/gm) ?? [];
  return candidates.length === names.length;
}

/** @param {string[]} names @returns {string | undefined} what went wrong */
function install(names) {
  return aptGet(['install', '-y', '--no-install-recommends', ...names]);
}

/** @param {string[]} args @returns {string | undefined} what went wrong */
function aptGet(args) {
  const run = spawnSync('apt-get', ['-q', ...args], {
    encoding: 'utf8',
    timeout: APT_TIMEOUT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (run.status === 0) return undefined;
  if (run.error) return run.error.message;
  return run.stderr.trim().split('\n').slice(-3).join(' ') || `exit status ${run.status ?? run.signal}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const outcome of [ensureNodePackages(), ensureDebianPackages()]) {
    if (!outcome.ok) {
      console.error(outcome.reason);
      process.exitCode = 1;
    }
  }
}
