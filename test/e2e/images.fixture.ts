/** What the tests of images and storage share: a place of their own with watched canaries, and trees worth packing. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { GOOD_METADATA } from '#shared/image/hostile.fixture.ts';
import { unpackImage, type Unpacked } from '../../host-connector/images/unpack.ts';
import { run, spawnPiped } from '../../host-connector/process.ts';

export const IDMAP = { base: 300_000, size: 65_536 };
export const OTHER_IDMAP = { base: 700_000, size: 65_536 };

/** The places of the running test. */
export interface Place {
  /** State folder of a connector. */
  readonly state: string;
  /** A folder that everybody may write to and nobody should. */
  readonly canaries: string;
}

/** Gives each test of a file a place of its own. Needs root. */
export function ownPlace(): Place {
  let lab = '';
  const place = { state: '', canaries: '' };
  beforeAll(() => {
    if (process.getuid?.() !== 0)
      throw new Error('These tests need root: run them as root, or leave the folder test/e2e out.');
    lab = mkdtempSync(join(tmpdir(), 'fairlead-images-'));
    chmodSync(lab, 0o755);
  });
  afterAll(() => rmSync(lab, { recursive: true, force: true }));
  beforeEach(() => {
    place.state = mkdtempSync(join(lab, 'state-'));
    place.canaries = mkdtempSync(join(lab, 'canaries-'));
    writeFileSync(join(place.canaries, 'canary'), 'sings', { mode: 0o644 });
    mkdirSync(join(place.canaries, 'folder'));
    chmodSync(place.canaries, 0o777);
  });
  afterEach(() => {
    rmSync(place.state, { recursive: true, force: true });
    rmSync(place.canaries, { recursive: true, force: true });
  });
  return place;
}

/** Everything about a tree that an attack could change. */
export function fingerprint(folder: string): string[] {
  const lines: string[] = [];
  const walk = (path: string) => {
    const { mode, uid, gid, nlink, size, mtimeMs, ctimeMs } = lstatSync(path);
    lines.push([path, mode, uid, gid, nlink, size, mtimeMs, ctimeMs].join(' '));
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path).sort()) walk(join(path, name));
    else lines.push(createHash('sha256').update(readFileSync(path)).digest('hex'));
  };
  walk(folder);
  return lines;
}

/** Unpacks one or two files into `<state>/image`. */
export function unpack(
  state: string,
  bytes: Uint8Array | readonly Uint8Array[],
  options: { timeoutMs?: number } = {},
): Promise<Unpacked> {
  const files = (bytes instanceof Uint8Array ? [bytes] : bytes).map((content, i) => {
    writeFileSync(join(state, `file-${i}`), content);
    return join(state, `file-${i}`);
  });
  mkdirSync(join(state, 'scratch'), { recursive: true });
  const [first = '', second] = files;
  return unpackImage(
    { run, spawn: spawnPiped },
    {
      files: second === undefined ? [first] : [first, second],
      target: join(state, 'image'),
      scratch: join(state, 'scratch'),
      idmap: IDMAP,
      ...options,
    },
  );
}

/** A failed unpack leaves nothing. */
export function nothingHalfMade(state: string): void {
  expect(existsSync(join(state, 'image'))).toBe(false);
  expect(readdirSync(join(state, 'scratch'))).toEqual([]);
}

/** A tree as a distribution makes it, packed by GNU tar. */
export function goodTree(folder: string): string {
  const tree = mkdtempSync(join(folder, 'tree-'));
  const build = `mkdir -p rootfs/usr/bin rootfs/etc rootfs/dev rootfs/home/user rootfs/tmp templates
    printf '%s' "$1" > metadata.yaml; echo '{{ container.name }}' > templates/hostname.tpl
    ln -s usr/bin rootfs/bin; ln -s /proc/self/mounts rootfs/etc/mtab
    cp /bin/true rootfs/usr/bin/su; chmod 4755 rootfs/usr/bin/su; ln rootfs/usr/bin/su rootfs/usr/bin/su2
    cp /bin/true rootfs/usr/bin/ping; setcap cap_net_raw+ep rootfs/usr/bin/ping
    echo mine > rootfs/home/user/file; chown -R 1000:1001 rootfs/home/user; chmod 1777 rootfs/tmp; chown 65534:65534 rootfs/etc/mtab -h
    mknod rootfs/dev/null c 1 3; mkfifo rootfs/pipe; truncate -s 30M rootfs/sparse; touch "rootfs/$(printf 'bad\\377name')"; chown 0:42 rootfs/etc; chmod 2750 rootfs/etc`;
  execFileSync('sh', ['-ec', build, 'sh', GOOD_METADATA], { cwd: tree });
  return tree;
}

/** Packs a tree as GNU tar does for images; by default as a unified one. */
export function pack(tree: string, ...args: string[]): Buffer {
  const argv = [
    '--numeric-owner',
    '--xattrs',
    '--xattrs-include=*',
    '--acls',
    '-S',
    '-C',
    tree,
    '-c',
    ...(args.length > 0 ? args : ['metadata.yaml', 'templates', 'rootfs']),
  ];
  return execFileSync('tar', argv, { maxBuffer: 1e9 });
}

/** Compares an unpacked {@link goodTree} with what went in. */
export function expectGoodTree(image: string, base = IDMAP.base): void {
  const at = (path: string) => lstatSync(join(image, 'rootfs', path));
  expect(at('usr/bin/su')).toMatchObject({ uid: base, gid: base, nlink: 2 });
  expect(at('usr/bin/su').mode & 0o7777).toBe(0o4755);
  expect(at('home/user/file')).toMatchObject({ uid: base + 1000, gid: base + 1001 });
  expect(at('etc')).toMatchObject({ uid: base, gid: base + 42 });
  expect(at('etc').mode & 0o7777).toBe(0o2750);
  expect(at('tmp').mode & 0o7777).toBe(0o1777);
  expect(at('bin').isSymbolicLink()).toBe(true);
  expect(at('etc/mtab').uid).toBe(base + 65_534);
  expect(at('pipe').isFIFO()).toBe(true);
  expect(at('sparse')).toMatchObject({ size: 30 * 1024 * 1024 });
  expect(at('sparse').blocks).toBeLessThan(100);
  expect(existsSync(join(image, 'rootfs/dev/null'))).toBe(false);
  expect(
    readdirSync(join(image, 'rootfs'), { encoding: 'buffer' }).some((name) =>
      name.equals(Buffer.from('bad\u00FFname', 'latin1')),
    ),
  ).toBe(true);
  expect(execFileSync('getcap', ['-n', join(image, 'rootfs/usr/bin/ping')], { encoding: 'utf8' })).toContain(
    `cap_net_raw=ep [rootid=${base}]`,
  );
}
