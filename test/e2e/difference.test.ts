/** The difference of a root filesystem to its image: made on a real overlay, applied to another one with other ids. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { spawnConfined, type IdMap } from '../../host-connector/images/confine.ts';
import { run, spawnPiped } from '../../host-connector/process.ts';
import { mountOverlay } from '../../host-connector/storage/overlay.ts';
import { applyDifference, packDifference, type Seen } from '../../host-connector/transfer/difference.ts';
import type { Tree } from '../../host-connector/transfer/tree.ts';
import { IDMAP, OTHER_IDMAP, ownPlace } from './images.fixture.ts';

const place = ownPlace();
const sh = (cwd: string, script: string, ...args: string[]): string =>
  execFileSync('bash', ['-ec', script, 'bash', ...args], { cwd, encoding: 'latin1', maxBuffer: 1e9 });

/** What a distribution brings; paths that the instance will change in every way. */
const IMAGE = `mkdir -p usr/bin etc/ssl var/cache/deep home/user opaque/inner replaced tofile todir.d
  for f in usr/bin/a usr/bin/b etc/conf etc/ssl/key var/cache/deep/x opaque/old opaque/inner/y replaced/z tofile/w todir link kept; do echo "image $f" > $f; done
  ln usr/bin/a usr/bin/hard; ln -s kept tolink; echo gone > "odd
name"; chmod 4755 usr/bin/b; find . -exec touch -h -d 2001-01-01 {} +`;
const PY = '/usr/bin/python3 -c';
/** What setfacl -m u:1234:rwx writes. */
const ACL =
  'import os, struct; entries = [(1, 6, -1), (2, 7, 1234), (4, 4, -1), (16, 7, -1), (32, 4, -1)]; ' +
  'os.setxattr("srv/h1", "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries))';
/** What the guest does to it, as its root. */
const CHANGES = `echo new > etc/conf; rm etc/ssl/key; rm -rf var/cache/deep; rm "odd
name"
  rm -rf opaque; mkdir opaque; echo new > opaque/new
  rm -rf tofile; echo file > tofile; rm todir; mkdir todir; echo in > todir/in; rm tolink; mkdir tolink
  rm link; ln -s nowhere link
  mkdir srv; cp /bin/true srv/cap; setcap cap_net_raw+ep srv/cap; ${PY} 'import os; os.setxattr("srv/cap", "user.note", b"hello")'
  echo one > srv/h1; ln srv/h1 srv/h2; truncate -s 50M srv/sparse; printf x | dd of=srv/sparse bs=1 seek=30000000 conv=notrunc status=none
  mkfifo srv/pipe; ${PY} 'import socket; socket.socket(socket.AF_UNIX).bind("srv/socket")'
  : > "srv/$(printf 'latin\\377')"; : > "srv/-rf"; : > "srv/*"; : > "srv/  blanks "; : > "srv/new
line"
  mkdir -m 1777 srv/sticky; ${PY} '${ACL}'; touch -d 1999-09-09 srv/h1; chmod 2750 home/user`;

/** Little endian, as in an extended attribute. */
function le(id: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(id);
  return bytes.toString('hex');
}

/** Everything that must be the same on both ends, with owners as the guest sees them. */
function portrait(root: string, { base }: IdMap): string {
  const lines = sh(
    root,
    `find . -mindepth 1 -printf '%p|%y|%m|%U|%G|' \\( -type d -printf '|' -o -printf '%n|' \\) -printf '%l|%T@|' \\( -type f -printf '%s|%b' -o -true \\) -printf '\\0' | sort -z
     find . -type f -print0 | sort -z | xargs -0 sha256sum --zero
     /usr/bin/python3 -c '
import os
for top, folders, files in sorted(os.walk(b".")):
    for path in sorted(os.path.join(top, name) for name in folders + files):
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            if not name.startswith("trusted."): print(path, name, os.getxattr(path, name, follow_symlinks=False).hex())'`,
  );
  // Sizes of folders and blocks of plain files are the filesystem's business; a sparse file must stay sparse.
  return (
    lines
      .replaceAll(/\|(\d+)\|(\d+)\|(\|?\d*)\|([^|]*)\|([\d.]+)\|/g, (_, uid, gid, ...rest) =>
        ['', Number(uid) - base, Number(gid) - base, ...rest.slice(0, 3), ''].join('|'),
      )
      .replaceAll(
        /\|(\d+)\|(\d+)\0/g,
        (_, size, blocks) => `|${size}|${Number(blocks) * 512 < Number(size) / 2 ? 'sparse' : ''}\0`,
      )
      // The guest's own ids are in both, as the host's numbers.
      .replaceAll(/(?<=(?:security\.capability|posix_acl_access) [0-9a-f]*)(?:[0-9a-f]{8})/g, (word) =>
        word === le(base) ? 'root' : word === le(base + 1234) ? 'user1234' : word,
      )
  );
}

/** A host: the image unpacked with its ids, and an instance on it. */
class End {
  readonly tree: Tree;
  readonly idmap: IdMap;

  constructor(name: string, idmap: IdMap, kind: 'overlay' | 'dir') {
    const at = (part: string): string => join(place.state, name, part);
    this.idmap = idmap;
    for (const part of ['image', 'upper', 'work', 'rootfs', 'scratch']) mkdirSync(at(part), { recursive: true });
    sh(
      at('image'),
      `${IMAGE}\nfind . -exec chown -h ${idmap.base}:${idmap.base} {} +; chmod 4755 usr/bin/b; chown ${idmap.base}:${idmap.base} ../upper`,
    );
    const upper = kind === 'overlay' ? { upper: at('upper') } : {};
    this.tree = { rootfs: at('rootfs'), image: at('image'), scratch: at('scratch'), idmap, ...upper };
    if (kind === 'dir') sh(at(''), 'cp -a image/. rootfs/');
  }

  async mount(): Promise<this> {
    const { rootfs, upper, image } = this.tree;
    if (upper !== undefined) {
      await mountOverlay(run, { lower: image ?? '', upper, work: join(upper, '../work'), at: rootfs });
    }
    return this;
  }

  /** As the guest's root. */
  async change(script: string): Promise<void> {
    const { rootfs, idmap, scratch } = this.tree;
    const confinement = { idmap, scratch, maxFileBytes: 1e9, folder: { path: rootfs, access: 'rw' as const } };
    const child = await spawnConfined(spawnPiped, ['bash', '-ec', `cd /out; ${script}`], confinement);
    child.stdout.resume();
    child.stdin.end();
    expect(await child.exited, child.stderr()).toEqual({ code: 0, signal: null });
  }

  pack(before?: Seen) {
    return packDifference(spawnPiped, this.tree, { before, live: false, now: Date.now() });
  }

  unmount(): void {
    if (this.tree.upper !== undefined) execFileSync('umount', [this.tree.rootfs]);
  }
}

async function sizeOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

describe.each([
  ['overlay', 'overlay'],
  ['overlay', 'dir'],
  ['dir', 'overlay'],
] as const)('a difference from %s to %s', (from, to) => {
  let source: End;
  let target: End;
  beforeEach(async () => {
    source = await new End('source', IDMAP, from).mount();
    target = await new End('target', OTHER_IDMAP, to).mount();
  });
  afterEach(() => {
    source.unmount();
    target.unmount();
    rmSync(place.state, { recursive: true, force: true });
  });

  it('brings every kind of file, with owners, attributes, links and holes, and takes away what is gone', async () => {
    await source.change(CHANGES);
    const { stream } = await source.pack();
    await applyDifference(spawnPiped, target.tree, stream, undefined);
    const without = (text: string): string =>
      text
        .split('\0')
        .filter((line) => !line.includes('srv/socket'))
        .join('\0');
    const want = portrait(source.tree.rootfs, source.idmap);
    expect(want).toContain('srv/h2');
    expect(want).toContain('sparse');
    expect(without(portrait(target.tree.rootfs, target.idmap))).toBe(without(want));
  });

  it('in later passes carries only what changed since, and what was deleted since is deleted', async () => {
    await source.change(
      `${CHANGES}; ${PY} "import os; open('srv/big', 'wb').write(os.urandom(3000000))"; mkdir srv/early; echo e > srv/early/e; rm -rf srv/socket`,
    );
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const first = await source.pack();
    const names = await applyDifference(spawnPiped, target.tree, first.stream, undefined);
    await source.change(
      'echo late > srv/late; rm -rf srv/early srv/pipe; rm usr/bin/b; mkdir srv/pipe; mv srv/h1 srv/h3; echo z >> srv/h3; rm -rf srv/sticky; echo now > srv/sticky',
    );
    const second = await source.pack(first.seen);
    const bytes = await sizeOf(second.stream);
    if (from === 'overlay') expect(bytes.length).toBeLessThan(100_000);
    await applyDifference(spawnPiped, target.tree, once(bytes), names);
    expect(portrait(target.tree.rootfs, target.idmap)).toBe(portrait(source.tree.rootfs, source.idmap));
  });

  it('that was damaged on its way is noticed', async () => {
    await source.change(`${PY} "import os; open('etc/noise', 'wb').write(os.urandom(200000))"`);
    const bytes = await sizeOf((await source.pack()).stream);
    const cut = applyDifference(spawnPiped, target.tree, once(bytes.subarray(0, bytes.length / 2)), undefined);
    await expect(cut).rejects.toThrow();
  });
});
