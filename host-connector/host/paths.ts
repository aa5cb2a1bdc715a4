/** Where things are on a host: the one place that builds paths, from the state folder and ids that were checked. */
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';

export const DEFAULT_STATE_DIR = '/var/lib/fairlead';
export const POLICY_FILE = '/etc/fairlead/policy.json';

/** Longer names of liblxc's command socket (`<folder>/<uuid>/command`, 107 bytes in all) are hashed, and could not be found again. */
const MAX_STATE_DIR_LENGTH = 50;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The files of one instance. */
interface InstancePaths {
  readonly dir: string;
  /** LXC's configuration, written by us only. */
  readonly config: string;
  /** Where storage mounts the root filesystem. */
  readonly rootfs: string;
  readonly consoleLog: string;
  readonly lxcLog: string;
  readonly role: string;
}

/** The folders of the connector. */
export interface HostPaths {
  readonly stateDir: string;
  /** `-P` of every lxc program. */
  readonly lxcpath: string;
  readonly seccompDir: string;
  readonly networkDir: string;
  /** @throws FairleadError `bad_name` when the id is not a lower-case UUID. */
  instance(id: string): InstancePaths;
}

/**
 * The paths below a state folder.
 * @throws FairleadError `bad_config` when the folder's name is not absolute or too long for liblxc's sockets.
 */
export function hostPaths(stateDir: string = DEFAULT_STATE_DIR): HostPaths {
  if (!/^\/[A-Za-z0-9._/-]+$/.test(stateDir) || stateDir.length > MAX_STATE_DIR_LENGTH) {
    throw new FairleadError(
      'bad_config',
      `"${stateDir}" cannot hold the connector's state: give an absolute path of at most ${MAX_STATE_DIR_LENGTH} plain characters`,
    );
  }
  const lxcpath = join(stateDir, 'instances');
  return {
    stateDir,
    lxcpath,
    seccompDir: join(stateDir, 'seccomp'),
    networkDir: join(stateDir, 'network'),
    instance: (id) => instancePaths(lxcpath, id),
  };
}

function instancePaths(lxcpath: string, id: string): InstancePaths {
  if (!UUID.test(id)) throw new FairleadError('bad_name', `"${id}" is not the id of an instance`);
  const dir = join(lxcpath, id);
  return {
    dir,
    config: join(dir, 'config'),
    rootfs: join(dir, 'rootfs'),
    consoleLog: join(dir, 'console.log'),
    lxcLog: join(dir, 'lxc.log'),
    role: join(dir, 'role.json'),
  };
}
