/** The storage drivers on a real host. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run, spawnPiped } from '../../host-connector/process.ts';
import { pickStorage } from '../../host-connector/storage/pick.ts';
import { openTrash } from '../../host-connector/storage/trash.ts';
import { expectGoodTree, fingerprint, goodTree, IDMAP, OTHER_IDMAP, ownPlace, pack, unpack } from './images.fixture.ts';

const place = ownPlace();
const newId = () => randomUUID();

describe('storage', () => {
  const deps = () => ({
    stateDir: place.state,
    run,
    spawn: spawnPiped,
    newId,
    trash: openTrash(join(place.state, '.trash'), { run, newId }),
  });

  async function image() {
    await unpack(place.state, pack(goodTree(place.state)));
    return { dir: join(place.state, 'image'), idmap: IDMAP };
  }

  function instance(): string {
    const dir = join(place.state, 'instances', newId());
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  it('overlay: an instance is its image and what it changed, and the image stays as it is', async () => {
    const source = await image();
    const before = fingerprint(join(source.dir, 'rootfs/etc'));
    const { shared, noOverlay } = await pickStorage(deps());
    expect([shared.name, noOverlay]).toEqual(['overlay', undefined]);
    const dir = instance();
    await shared.create(dir, source, IDMAP);
    await shared.mount(dir, source);
    await shared.mount(dir, source);
    expectGoodTree(dir);
    expect(lstatSync(join(dir, 'rootfs'))).toMatchObject({ uid: IDMAP.base });
    writeFileSync(join(dir, 'rootfs/etc/new'), 'x'.repeat(100_000));
    rmSync(join(dir, 'rootfs/home'), { recursive: true });
    expect(await shared.usage(dir)).toBeGreaterThan(100_000);
    await shared.unmount(dir);
    await shared.unmount(dir);
    await shared.mount(dir, source);
    expect(readFileSync(join(dir, 'rootfs/etc/new'), 'utf8')).toHaveLength(100_000);
    expect(existsSync(join(dir, 'rootfs/home'))).toBe(false);
    await expect(shared.create(dir, source, IDMAP)).rejects.toMatchObject({ code: 'already_exists' });
    await shared.remove(dir);
    await shared.remove(dir);
    expect(readdirSync(dir)).toEqual([]);
    expect(fingerprint(join(source.dir, 'rootfs/etc'))).toEqual(before);
    expect(readdirSync(join(place.state, '.trash'))).toEqual([]);
  });

  it('overlay: says that a root filesystem is in use, and deletes nothing of it', async () => {
    const source = await image();
    const { shared } = await pickStorage(deps());
    const dir = instance();
    await shared.create(dir, source, IDMAP);
    await shared.mount(dir, source);
    const user = await spawnPiped(['cat'], { cwd: join(dir, 'rootfs/etc') });
    await expect(shared.remove(dir)).rejects.toMatchObject({ code: 'busy' });
    expect(existsSync(join(dir, 'rootfs/usr/bin/su'))).toBe(true);
    user.kill();
    await user.exited;
    await shared.remove(dir);
  });

  it('dir: an instance with ids of its own is a copy, shifted with setuid bits and capabilities', async () => {
    const source = await image();
    const { isolated } = await pickStorage(deps());
    const dir = instance();
    await isolated.create(dir, source, OTHER_IDMAP);
    await isolated.mount(dir, source);
    expectGoodTree(dir, OTHER_IDMAP.base);
    expectGoodTree(source.dir);
    expect(readdirSync(dir)).toEqual(['rootfs']);
    expect(await isolated.usage(dir)).toBeGreaterThan(10_000);
  });

  it('dir: an instance with the image`s ids is a plain copy', async () => {
    const source = await image();
    const { isolated } = await pickStorage(deps());
    const dir = instance();
    await isolated.create(dir, source, IDMAP);
    expectGoodTree(dir);
    await expect(isolated.create(dir, source, IDMAP)).rejects.toMatchObject({ code: 'already_exists' });
  });

  it('removing follows no link that a guest planted', async () => {
    const source = await image();
    const before = fingerprint(place.canaries);
    const { shared, isolated } = await pickStorage(deps());
    for (const driver of [shared, isolated]) {
      const dir = instance();
      await driver.create(dir, source, IDMAP);
      await driver.mount(dir, source);
      symlinkSync(place.canaries, join(dir, 'rootfs/tmp/out'));
      symlinkSync('/', join(dir, 'rootfs/tmp/root'));
      await driver.remove(dir);
      expect(readdirSync(dir)).toEqual([]);
    }
    expect(fingerprint(place.canaries)).toEqual(before);
  });

  it('falls back to copies, with the reason, where an overlay cannot be', async () => {
    for (const name of ['l', 'u', 'w', 'm']) mkdirSync(join(place.state, name));
    execFileSync('mount', ['-t', 'overlay', '-o', 'lowerdir=l,upperdir=u,workdir=w', 'x', 'm'], { cwd: place.state });
    try {
      const inOverlay = {
        ...deps(),
        stateDir: join(place.state, 'm'),
        trash: openTrash(join(place.state, 'm/.trash'), { run, newId }),
      };
      const { shared, noOverlay } = await pickStorage(inOverlay);
      expect(shared.name).toBe('dir');
      expect(noOverlay).toMatch(/overlay|mount failed/i);
    } finally {
      execFileSync('umount', [join(place.state, 'm')]);
    }
  });
});
