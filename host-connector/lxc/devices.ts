/** Makes what a container's disk and unix devices need on the host, and says what goes into its configuration. */
import { chown, mkdir, realpath, rm, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';
import { readDevice, type DiskDevice, type UnixDevice } from '#shared/config/readDevice.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import { isMissing } from '../durable.ts';
import { runOrFail, type Run } from '../process.ts';
import type { DeviceNode, Mount } from './config.ts';
import { TOOL_TIMEOUT_MS } from './tools.ts';

/** How to make them. */
export interface DeviceSetup {
  /** A folder of the instance's own for device files; emptied first. */
  readonly folder: string;
  /** Host id of the container's root. */
  readonly rootId: number;
  /** Host paths that disks may come from, by the host's policy. */
  readonly diskSources: readonly string[];
  readonly run: Run;
}

/**
 * Prepares all but the root disk and the nics. A disk's source is followed to where it really is and held against the
 * policy again: a link may lead anywhere.
 * @throws FairleadError `bad_config` for a required source that is missing, `forbidden_by_host` for one outside the policy
 */
export async function prepareDevices(
  spec: Pick<InstanceSpec, 'devices'>,
  setup: DeviceSetup,
): Promise<{ mounts: Mount[]; nodes: DeviceNode[] }> {
  await rm(setup.folder, { recursive: true, force: true });
  const mounts: Mount[] = [];
  const nodes: DeviceNode[] = [];
  for (const [name, options] of Object.entries(spec.devices)) {
    const device = readDevice(name, options);
    if (device.type === 'disk' && device.source !== undefined) {
      const mount = await diskMount(name, device, device.source, setup);
      if (mount) mounts.push(mount);
    }
    if (device.type === 'unix-char' || device.type === 'unix-block') {
      const made = await unixNode(name, device, setup);
      if (made) {
        mounts.push(made.mount);
        nodes.push(made.node);
      }
    }
  }
  return { mounts, nodes };
}

async function diskMount(
  name: string,
  disk: DiskDevice,
  source: string,
  setup: DeviceSetup,
): Promise<Mount | undefined> {
  const found = await look(source);
  if (found === undefined) return missing(name, source, disk.required);
  const real = await realpath(source);
  const allowed = setup.diskSources.some((root) => root === '/' || real === root || real.startsWith(`${root}/`));
  if (!allowed) {
    throw new FairleadError(
      'forbidden_by_host',
      `The policy of this host does not allow device ${name}: its source leads to ${real}. Choose another, or change the policy file`,
    );
  }
  const { readonly, recursive, shift, required } = disk;
  const create = found.isDirectory() ? 'dir' : 'file';
  return { source: real, target: disk.path, create, readonly, recursive, shift, optional: !required };
}

async function unixNode(
  name: string,
  device: UnixDevice,
  setup: DeviceSetup,
): Promise<{ mount: Mount; node: DeviceNode } | undefined> {
  const number = device.number ?? (await numberOf(device));
  if (number === undefined) return missing(name, device.source, device.required);
  const type = device.type === 'unix-char' ? 'c' : 'b';
  const path = join(setup.folder, name.replaceAll('/', '-'));
  await mkdir(setup.folder, { recursive: true, mode: 0o711 });
  const argv = ['mknod', '-m', device.mode, '--', path, type, `${number.major}`, `${number.minor}`] as const;
  await runOrFail(setup.run, argv, { timeoutMs: TOOL_TIMEOUT_MS });
  await chown(path, setup.rootId + device.uid, setup.rootId + device.gid);
  const mount: Mount = {
    source: path,
    target: device.path,
    create: 'file',
    readonly: false,
    recursive: false,
    optional: false,
    shift: false,
  };
  return { mount, node: { type, ...number } };
}

/** Major and minor number of a device file of the host, as Linux packs them. */
async function numberOf(device: UnixDevice): Promise<{ major: number; minor: number } | undefined> {
  const found = await look(device.source);
  if (found === undefined || !(device.type === 'unix-char' ? found.isCharacterDevice() : found.isBlockDevice()))
    return undefined;
  const { rdev } = found;
  return { major: (rdev >> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >> 12) & 0xfff00) };
}

function missing(name: string, source: string, required: boolean): undefined {
  if (!required) return undefined;
  throw new FairleadError(
    'bad_config',
    `Device ${name} needs ${source}, which this host does not have; add required=false to start without it`,
  );
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
