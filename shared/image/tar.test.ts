import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { extension, part, paxRecords, tarball, type Part } from './tar.fixture.ts';
import { TarReader, type TarEntry } from './tar.ts';

interface Parsed {
  readonly entries: (TarEntry & { readonly data: string })[];
  readonly raw: Buffer;
}

function parse(pieces: readonly Uint8Array[]): Parsed {
  const reader = new TarReader();
  const entries: (TarEntry & { data: string })[] = [];
  const raw: Uint8Array[] = [];
  for (const piece of pieces) {
    for (const event of reader.push(piece)) {
      raw.push(event.raw.slice());
      if (event.type === 'entry') entries.push({ ...event.entry, data: '' });
      if (event.type === 'data') entries.at(-1)!.data += Buffer.from(event.raw).toString('latin1');
    }
  }
  reader.finish();
  return { entries, raw: Buffer.concat(raw) };
}

const refusal = (bytes: Uint8Array) => () => parse([bytes]);

const aName = fc.string({ unit: fc.constantFrom('a', 'ü', '/', '.', '漢', ' '), minLength: 1, maxLength: 220 });
const aFile: fc.Arbitrary<Part> = fc.record({
  name: aName.map((name) => `f/${name}x`),
  data: fc.string({ unit: 'binary-ascii', maxLength: 1500 }),
  uid: fc.nat(3_000_000_000),
  gid: fc.nat(70_000),
  mode: fc.nat(0o7777),
});
const aLink: fc.Arbitrary<Part> = fc.record({
  name: aName.map((name) => `l/${name}x`),
  type: fc.constantFrom('1', '2'),
  link: aName,
});
const withPax = fc
  .tuple(aFile, aName, fc.nat(60_000))
  .map(([file, path, uid]): Part => ({ ...file, name: 'short', pax: { path: `${path}x`, uid: String(uid) } }));
const parts = fc.array(fc.oneof(aFile, aLink, withPax), { maxLength: 12 });

describe('TarReader', () => {
  it('gives the same entries and bytes however the archive is cut into pieces', () => {
    fc.assert(
      fc.property(parts, fc.array(fc.nat(1300), { maxLength: 60 }), (parts, cuts) => {
        const whole = tarball(parts);
        const pieces: Uint8Array[] = [];
        let at = 0;
        for (const cut of cuts) pieces.push(whole.subarray(at, (at += cut)));
        pieces.push(whole.subarray(at));
        const parsed = parse(pieces);
        expect(parsed).toEqual(parse([whole]));
        expect(parsed.raw.equals(Buffer.from(whole))).toBe(true);
        expect(parsed.entries.map(({ name }) => name)).toEqual(parts.map(({ name, pax }) => pax?.['path'] ?? name));
        expect(parsed.entries.map(({ data }) => data)).toEqual(parts.map(({ data }) => data ?? ''));
        expect(parsed.entries.map(({ linkname }) => linkname)).toEqual(parts.map(({ link }) => link ?? ''));
        expect(parsed.entries.map(({ uid }) => uid)).toEqual(
          parts.map(({ uid, pax }) => Number(pax?.['uid'] ?? uid ?? 0)),
        );
      }),
    );
  });

  it('never accepts an archive that was cut off', () => {
    fc.assert(
      fc.property(parts, fc.double({ min: 0, max: 0.999, noNaN: true }), (parts, share) => {
        const whole = tarball(parts);
        const cut = Math.floor((whole.length - 1024) * share);
        expect(refusal(whole.subarray(0, cut))).toThrow(/ends in the middle/);
      }),
    );
  });

  it('answers any damage with bad_image or with entries, never with another error', () => {
    fc.assert(
      fc.property(
        parts,
        fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        (parts, damage) => {
          const bytes = Uint8Array.from(tarball(parts));
          for (const [at, value] of damage) bytes[at % bytes.length] = value;
          try {
            parse([bytes]);
          } catch (error) {
            expect(isFairleadError(error, 'bad_image')).toBe(true);
          }
        },
      ),
    );
  });

  it.each(['gnu', 'pax', 'ustar', 'oldgnu'])('reads what GNU tar writes as %s', (format) => {
    const folder = mkdtempSync(join(tmpdir(), 'tar-'));
    const long = format === 'gnu' || format === 'pax';
    const script = `mkdir -p src/d && cd src && echo hello > d/file && ln d/file hard && ln -s d/file soft && mkfifo fifo
      ${long ? 'n=$(printf %0150d 7); echo long > d/$n; ln -s $n d/longlink' : ''}
      p=$(printf %080d 1) && mkdir $p && echo deep > $p/$p
      truncate -s 5M sparse && printf end >> sparse
      tar --format=${format} ${long ? '-S' : ''} --owner=1000 --group=1001 --numeric-owner --sort=name -cf ../out.tar .`;
    execFileSync('sh', ['-ec', script], { cwd: folder });
    const { entries } = parse([readFileSync(join(folder, 'out.tar'))]);
    rmSync(folder, { recursive: true });
    const named = (name: string) => entries.find((entry) => entry.name === name);
    expect(named('./d/file')).toMatchObject({ kind: 'file', data: 'hello\n', uid: 1000, gid: 1001 });
    expect(named('./hard')).toMatchObject({ kind: 'hardlink', linkname: './d/file' });
    expect(named('./soft')).toMatchObject({ kind: 'symlink', linkname: 'd/file' });
    expect(named('./fifo')).toMatchObject({ kind: 'fifo' });
    const padded = '1'.padStart(80, '0');
    expect(named(`./${padded}/${padded}`)).toMatchObject({ data: 'deep\n' });
    expect(named('./sparse')?.expandedSize).toBe(5 * 1024 * 1024 + 3);
    if (!long) return;
    expect(named('./sparse')?.size).toBeLessThan(10_000);
    expect(named(`./d/${'7'.padStart(150, '0')}`)).toMatchObject({ data: 'long\n' });
    expect(named('./d/longlink')).toMatchObject({ linkname: '7'.padStart(150, '0') });
  });

  it('reads the sparse maps of many holes, in all of GNU tar`s formats', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tar-'));
    const fill = `for i in $(seq 0 40); do printf x | dd of=holes bs=1 seek=$((i*65536)) conv=notrunc status=none; done`;
    execFileSync('sh', ['-ec', fill], { cwd: folder });
    for (const format of ['--format=gnu', '--sparse-version=0.0', '--sparse-version=0.1', '--sparse-version=1.0']) {
      execFileSync(
        'tar',
        ['-S', format, ...(format.includes('sparse') ? ['--format=pax'] : []), '-cf', 'out.tar', 'holes'],
        { cwd: folder },
      );
      const [entry, ...others] = parse([readFileSync(join(folder, 'out.tar'))]).entries;
      expect(others, format).toEqual([]);
      expect(entry, format).toMatchObject({ name: 'holes', kind: 'file', expandedSize: 40 * 65_536 + 1 });
    }
    rmSync(folder, { recursive: true });
  });

  it('counts the bytes of extended attributes', () => {
    const { entries } = parse([tarball([{ name: 'a', pax: { 'SCHILY.xattr.user.x': 'y'.repeat(1000) } }])]);
    expect(entries[0]?.xattrBytes).toBeGreaterThan(1000);
  });

  it('refuses headers without end', () => {
    const reader = new TarReader();
    expect(() => [...reader.push(part({ name: 'x', type: 'L', size: 3 * 1024 * 1024 }))]).toThrow(/larger than 1 MiB/);
    const global = extension('g', paxRecords({ comment: 'x'.repeat(100_000) }));
    expect(refusal(Buffer.concat(Array.from({ length: 12 }, () => global)))).toThrow(/larger than 1 MiB/);
  });

  it.each([
    ['a wrong checksum', Uint8Array.from(tarball([{ name: 'a' }]), (byte, i) => (i === 0 ? 98 : byte)), /checksum/],
    [
      'a global header that renames',
      Buffer.concat([extension('g', paxRecords({ path: '../x' })), tarball([{ name: 'a' }])]),
      /global header/,
    ],
    [
      'two pax headers',
      Buffer.concat([extension('x', paxRecords({ path: 'b' })), part({ name: 'a', pax: { path: 'c' } })]),
      /twice/,
    ],
    ['NUL in a pax name', tarball([{ name: 'a', pax: { path: 'b\0c' } }]), /NUL/],
    ['NUL in a long name', Buffer.concat([extension('L', Buffer.from('a\0b\0')), tarball([{ name: 'a' }])]), /NUL/],
    [
      'a pax record that is too long',
      Buffer.concat([extension('x', Buffer.from('99 path=a\n')), tarball([{ name: 'a' }])]),
      /malformed/,
    ],
    ['a negative id', tarball([{ name: 'a', pax: { uid: '-1' } }]), /not a number/],
    [
      'a name and no entry',
      Buffer.concat([extension('L', Buffer.from('a\0')), new Uint8Array(1024)]),
      /before the end/,
    ],
  ])('refuses %s', (_what, bytes, why) => {
    expect(refusal(bytes)).toThrow(why);
  });
});
