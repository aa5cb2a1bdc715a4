/** The policy file: the host's owner's last word on what the control plane may ask. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { FairleadError, messageOf } from '#shared/errors.ts';
import { defaultHostPolicy, readHostPolicy, type HostPolicy } from '#shared/config/policy.ts';
import { isMissing } from '../durable.ts';
import { POLICY_FILE } from './paths.ts';

/** A longer file is not a policy. */
const MAX_BYTES = 256 * 1024;
const WRITABLE_BY_OTHERS = 0o022;

/** The policy with the SHA-256 of its file ('' without one). */
export interface LoadedPolicy {
  readonly policy: HostPolicy;
  readonly hash: string;
}

/**
 * Reads the policy file; without one the defaults hold. A file that somebody other than root may have written, or that
 * does not read, is refused rather than replaced by the defaults: it may have been meant to be stricter.
 * @throws FairleadError `bad_config`
 */
export async function loadPolicy(path: string = POLICY_FILE, owner = 0): Promise<LoadedPolicy> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return { policy: defaultHostPolicy, hash: '' };
    throw unusable(path, messageOf(error), 'repair that');
  }
  try {
    const { uid, mode, size } = await file.stat();
    if (uid !== owner) throw unusable(path, 'it does not belong to root', `run: chown root ${path}`);
    if ((mode & WRITABLE_BY_OTHERS) !== 0)
      throw unusable(path, 'others than root may write it', `run: chmod go-w ${path}`);
    if (size > MAX_BYTES) throw unusable(path, 'it is longer than 256 KiB', 'shorten it');
    const text = await file.readFile('utf8');
    return { policy: parsePolicy(path, text), hash: createHash('sha256').update(text).digest('hex') };
  } finally {
    await file.close();
  }
}

function parsePolicy(path: string, text: string): HostPolicy {
  try {
    return readHostPolicy(JSON.parse(text));
  } catch (error) {
    throw unusable(path, messageOf(error), 'correct it');
  }
}

/** What a policy allows, as words for the host's facts. Pure. */
export function allowedBy({ ceiling, exec, live }: HostPolicy): string[] {
  const words = {
    exec,
    live,
    privileged: ceiling.privileged,
    nesting: ceiling.nesting,
    'raw-lxc': ceiling.rawLxc,
    interception: ceiling.interception,
    'low-level': ceiling.lowLevel,
    'host-disks': ceiling.diskSources.length > 0,
    'host-devices': ceiling.unixDevices.length > 0,
    'kernel-modules': ceiling.kernelModules.length > 0,
  };
  return Object.entries(words)
    .filter(([, allowed]) => allowed)
    .map(([word]) => word);
}

function unusable(path: string, why: string, what: string): FairleadError {
  return new FairleadError(
    'bad_config',
    `The host policy ${path} is not used and nothing is allowed until it is: ${why}; ${what}`,
  );
}
