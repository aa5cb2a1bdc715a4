/** Tarballs that try to get out of an image, each with the words its refusal must contain. Used by unit and end-to-end tests. */
import { tarball, type Part } from './tar.fixture.ts';

export interface Hostile {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** What the error must say. */
  readonly why: RegExp;
}

/** A metadata.yaml that is in order. */
export const GOOD_METADATA = `architecture: x86_64
creation_date: 1463683200
properties:
  os: Busybox
  release: "1.36"
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
`;

/** The start of a good unified image; append what shall be wrong. */
export const GOOD_START: readonly Part[] = [
  { name: 'metadata.yaml', data: GOOD_METADATA },
  { name: 'templates/', type: '5', mode: 0o755 },
  { name: 'templates/hostname.tpl', data: '{{ container.name }}\n' },
  { name: 'rootfs/', type: '5', mode: 0o755 },
  { name: 'rootfs/etc/', type: '5', mode: 0o755 },
  { name: 'rootfs/etc/passwd', data: 'root:x:0:0:root:/root:/bin/sh\n' },
];

/**
 * The corpus. `canary` is an absolute path of a file outside of the image that a test watches; the attacks aim at it.
 */
export function hostileTarballs(canary = '/canary'): Hostile[] {
  const folder = canary.slice(0, canary.lastIndexOf('/')) || '/';
  const up = `${'../'.repeat(30)}${canary.slice(1)}`;
  const evil = 'owned by the image\n';
  const bad = (name: string, why: RegExp, ...parts: Part[]): Hostile => ({
    name,
    why,
    bytes: tarball([...GOOD_START, ...parts]),
  });
  return [
    bad('name with ..', /contains ".."/, { name: `rootfs/${up}`, data: evil }),
    bad('name with .. that ends inside', /contains ".."/, { name: 'rootfs/etc/../../rootfs/x', data: evil }),
    bad('absolute name', /begins with a slash/, { name: canary, data: evil }),
    bad('absolute name in pax', /begins with a slash/, { name: 'rootfs/a', data: evil, pax: { path: canary } }),
    bad('.. in a GNU sparse name', /contains ".."/, { name: 'rootfs/a', data: evil, pax: { 'GNU.sparse.name': up } }),
    bad(
      'write through a symlink',
      /goes through the symbolic link/,
      { name: 'rootfs/out', type: '2', link: folder },
      { name: `rootfs/out/${canary.split('/').at(-1)}`, data: evil },
    ),
    bad(
      'directory, then a symlink of the same name',
      /goes through the symbolic link/,
      { name: 'rootfs/d/', type: '5', mode: 0o755 },
      { name: 'rootfs/d', type: '2', link: folder },
      { name: 'rootfs/d/x', data: evil },
    ),
    bad(
      'hard link out, absolute',
      /begins with a slash/,
      { name: 'rootfs/h', type: '1', link: canary },
      { name: 'rootfs/h', data: evil },
    ),
    bad('hard link out, relative', /contains ".."/, { name: 'rootfs/h', type: '1', link: up }),
    bad('hard link to metadata.yaml', /leaves the root filesystem/, {
      name: 'rootfs/h',
      type: '1',
      link: 'metadata.yaml',
    }),
    bad(
      'hard link through a symlink',
      /goes through the symbolic link/,
      { name: 'rootfs/s', type: '2', link: folder },
      { name: 'rootfs/h', type: '1', link: 'rootfs/s/canary' },
    ),
    bad('block device', /device node/, { name: 'rootfs/disk', type: '4', device: [8, 0], mode: 0o666 }),
    bad('character device below another dev', /device node/, {
      name: 'rootfs/etc/dev/mem',
      type: '3',
      device: [1, 1],
      mode: 0o666,
    }),
    bad('setuid file of user 200000', /user id 200000/, { name: 'rootfs/su', data: evil, mode: 0o4755, uid: 200_000 }),
    bad('group id in pax', /group id 65536/, { name: 'rootfs/su', data: evil, pax: { gid: '65536' } }),
    bad('second rootfs, a symlink', /rootfs must be a directory/, { name: 'rootfs', type: '2', link: '/' }),
    bad('second rootfs with ./', /rootfs must be a directory/, { name: './/rootfs', type: '2', link: '/' }),
    bad('second rootfs, a directory', /twice/, { name: 'rootfs/', type: '5', mode: 0o755 }),
    bad('second metadata.yaml', /twice/, { name: './metadata.yaml', data: GOOD_METADATA }),
    bad('template that is a symlink', /regular files only/, { name: 'templates/x.tpl', type: '2', link: canary }),
    bad('template that is a hard link', /regular files only/, {
      name: 'templates/x.tpl',
      type: '1',
      link: 'rootfs/etc/passwd',
    }),
    bad('something else at the top', /only metadata.yaml, rootfs and templates/, {
      name: 'backup/index.yaml',
      data: evil,
    }),
    bad('top that is a symlink', /must be a directory/, { name: './', type: '2', link: folder }),
    bad('attributes of 100 KiB', /extended attributes/, {
      name: 'rootfs/a',
      pax: { 'SCHILY.xattr.user.big': 'x'.repeat(100_000) },
    }),
    bad('sparse file of 300 GiB', /larger than 64 GiB/, {
      name: 'rootfs/a',
      pax: { 'GNU.sparse.size': String(300 * 1024 ** 3) },
    }),
    bad('path of 5000 bytes', /longer than 4096/, { name: `rootfs/${'a'.repeat(5000)}`, data: evil }),
    bad('path of 300 folders', /deeper than 256/, { name: `rootfs/${'a/'.repeat(300)}b`, data: evil }),
    bad('link with data', /cannot have data/, { name: 'rootfs/l', type: '2', link: 'x', data: evil }),
    bad('unknown type', /unknown type/, { name: 'rootfs/u', type: 'Q' }),
    {
      name: 'rootfs is a symlink',
      why: /rootfs must be a directory/,
      bytes: tarball([...GOOD_START.slice(0, 3), { name: 'rootfs', type: '2', link: '/' }]),
    },
    { name: 'rootfs is missing', why: /no rootfs/, bytes: tarball(GOOD_START.slice(0, 3)) },
    {
      name: 'templates is a symlink',
      why: /templates must be a directory/,
      bytes: tarball([
        ...GOOD_START.slice(0, 1),
        ...GOOD_START.slice(3),
        { name: 'templates', type: '2', link: folder },
      ]),
    },
    {
      name: 'metadata.yaml is a symlink',
      why: /metadata.yaml must be a regular file/,
      bytes: tarball([...GOOD_START.slice(1), { name: 'metadata.yaml', type: '2', link: canary }]),
    },
    {
      name: 'metadata.yaml of 2 MiB',
      why: /larger than 1 MiB/,
      bytes: tarball([...GOOD_START.slice(1), { name: 'metadata.yaml', data: '#'.repeat(2 * 1024 * 1024) }]),
    },
    { name: 'metadata.yaml is missing', why: /no metadata.yaml/, bytes: tarball(GOOD_START.slice(1)) },
    {
      name: 'metadata.yaml with aliases',
      why: /aliases/,
      bytes: tarball([...GOOD_START.slice(1), { name: 'metadata.yaml', data: `${GOOD_METADATA}a: &a [x]\nb: *a\n` }]),
    },
    { name: 'cut off', why: /ends in the middle/, bytes: tarball(GOOD_START).slice(0, 3000) },
    {
      name: 'more behind the end',
      why: /goes on behind its end/,
      bytes: Buffer.concat([tarball(GOOD_START), tarball([{ name: '/x', data: evil }])]),
    },
    {
      name: 'no tarball',
      why: /no tarball|cannot be used|neither a tarball/,
      bytes: new TextEncoder().encode('<html>'.repeat(1000)),
    },
  ];
}
