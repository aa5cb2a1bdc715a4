import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { run } from '../process.ts';
import { prepareDevices } from './devices.ts';

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'devices-'));
  await mkdir(join(root, 'allowed'));
  await writeFile(join(root, 'secret'), '');
});

function prepare(device: Record<string, string>) {
  const setup = {
    folder: join(root, 'made'),
    rootId: process.getuid?.() ?? 0,
    diskSources: [join(root, 'allowed')],
    run,
  };
  return prepareDevices({ devices: { d: device } }, setup);
}
const disk = (source: string, more: Record<string, string> = {}) => ({ type: 'disk', source, path: '/mnt', ...more });

describe('a disk from the host', () => {
  it('is mounted from where it really is', async () => {
    const { mounts } = await prepare(disk(join(root, 'allowed'), { readonly: 'true' }));
    expect(mounts).toMatchObject([
      { source: join(root, 'allowed'), target: '/mnt', create: 'dir', readonly: true, optional: false },
    ]);
  });
  it('may not lead out of what the policy allows', async () => {
    await symlink('../secret', join(root, 'allowed/link'));
    await expect(prepare(disk(join(root, 'allowed/link')))).rejects.toThrow(/does not allow device d/);
    await mkdir(join(root, 'allowed-not'));
    await expect(prepare(disk(join(root, 'allowed-not')))).rejects.toThrow(/does not allow device d/);
  });
  it('that is missing is an error, unless it is not required', async () => {
    const missing = join(root, 'allowed/none');
    await expect(prepare(disk(missing))).rejects.toThrow(/which this host does not have/);
    expect(await prepare(disk(missing, { required: 'false' }))).toEqual({ mounts: [], nodes: [] });
  });
});

describe('a device file', () => {
  it.skipIf(process.getuid?.() !== 0)(
    'is made anew for the container, with the numbers of the host’s (needs root)',
    async () => {
      const { mounts, nodes } = await prepare({ type: 'unix-char', path: '/dev/null' });
      expect(nodes).toEqual([{ type: 'c', major: 1, minor: 3 }]);
      expect(mounts).toMatchObject([{ source: join(root, 'made/d'), target: '/dev/null', create: 'file' }]);
      expect(existsSync(join(root, 'made/d'))).toBe(true);
    },
  );
  it('of another kind is missing', async () => {
    await expect(prepare({ type: 'unix-block', path: '/dev/null' })).rejects.toThrow(/does not have/);
  });
});
