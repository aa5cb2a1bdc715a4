/** Writes a container's configuration and the seccomp profile it names. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isOn } from '#shared/config/keys.ts';
import type { HostPaths } from '../host/paths.ts';
import { readIfThere, replaceFile } from '../durable.ts';
import { renderConfig, type Container } from './config.ts';
import { seccompName, seccompProfile } from './seccomp.ts';

/** The guest's root must pass through the folders above its root filesystem, and read nothing there. */
const PASS_ONLY = 0o711;

/** Everything of a {@link Container} that does not follow from the paths. */
export type ContainerParts = Omit<Container, 'rootfs' | 'paths'>;

/** Replaces `config`, as each start does; the running container keeps what it was started with. @throws FairleadError `bad_config` */
export async function writeConfig(paths: HostPaths, parts: ContainerParts): Promise<void> {
  const instance = paths.instance(parts.spec.id);
  const nesting = isOn(parts.spec.config, 'security.nesting') || isOn(parts.spec.config, 'security.privileged');
  const seccomp = join(paths.seccompDir, seccompName(nesting));
  const text = renderConfig({ ...parts, rootfs: instance.rootfs, paths: { consoleLog: instance.consoleLog, seccomp } });
  await mkdir(instance.dir, { recursive: true });
  for (const folder of [paths.stateDir, paths.lxcpath, instance.dir]) await chmod(folder, PASS_ONLY);
  const profile = seccompProfile(nesting);
  // All instances share it; those that start at the same moment must not get into each other's way.
  if ((await readIfThere(seccomp)) !== profile) await replaceFile(seccomp, profile);
  await replaceFile(instance.config, text);
}
