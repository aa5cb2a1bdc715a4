import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { MetadataFinder } from './find-metadata.ts';
import { GOOD_METADATA, GOOD_START, hostileTarballs } from './hostile.fixture.ts';
import {
  checkRatio,
  finishInspection,
  inspect,
  MAX_ENTRIES,
  startInspection,
  type Layout,
  type Verdict,
} from './inspect.ts';
import { tarball, type Part } from './tar.fixture.ts';
import { TarReader, type TarEntry } from './tar.ts';

function judge(layout: Layout, parts: readonly Part[]): Record<string, Verdict> {
  const state = startInspection(layout);
  const verdicts: Record<string, Verdict> = {};
  for (const event of new TarReader().push(tarball(parts))) {
    if (event.type === 'entry') verdicts[event.entry.name] = inspect(state, event.entry);
  }
  finishInspection(state);
  return verdicts;
}

const image = (...more: Part[]) => judge('unified', [...GOOD_START, ...more]);

describe('inspect', () => {
  it.each(hostileTarballs().map(({ name, bytes, why }) => [name, bytes, why] as const))(
    'refuses: %s',
    (_name, bytes, why) => {
      const read = () => {
        const finder = new MetadataFinder('unified');
        finder.push(bytes);
        return finder.finish();
      };
      expect(read).toThrow(why);
      expect(read).toThrow(expect.toSatisfy((error: unknown) => isFairleadError(error, 'bad_image')));
    },
  );

  it('keeps what real systems have: links to anywhere, setuid files, pipes, hard links', () => {
    const verdicts = image(
      { name: 'rootfs/bin', type: '2', link: 'usr/bin' },
      { name: 'rootfs/etc/mtab', type: '2', link: '/proc/self/mounts' },
      { name: 'rootfs/up', type: '2', link: '../../../..' },
      { name: 'rootfs/usr/bin/su', data: 'x', mode: 0o4755 },
      { name: 'rootfs/usr/bin/su2', type: '1', link: 'rootfs/usr/bin/su' },
      { name: 'rootfs/run/pipe', type: '6' },
      { name: 'rootfs/nobody', uid: 65_534, gid: 65_535 },
    );
    expect(new Set(Object.values(verdicts))).toEqual(new Set(['keep']));
  });

  it('leaves out device nodes in /dev and their hard links', () => {
    const verdicts = image(
      { name: 'rootfs/dev/', type: '5' },
      { name: 'rootfs/dev/null', type: '3', device: [1, 3] },
      { name: 'rootfs/dev/zero2', type: '1', link: './rootfs/dev/null' },
    );
    expect(verdicts).toMatchObject({ 'rootfs/dev/': 'keep', 'rootfs/dev/null': 'skip', 'rootfs/dev/zero2': 'skip' });
  });

  it('takes names with ./ and leaves out the entry of the top itself', () => {
    const dotted = GOOD_START.map((part) => ({ ...part, name: `./${part.name}` }));
    expect(judge('unified', [{ name: './', type: '5' }, ...dotted])).toMatchObject({
      './': 'skip',
      './rootfs/': 'keep',
    });
  });

  it('takes a split image: metadata without rootfs, and a root filesystem at the top', () => {
    expect(judge('metadata', GOOD_START.slice(0, 3))).toMatchObject({ 'metadata.yaml': 'keep' });
    expect(() => judge('metadata', GOOD_START)).toThrow(/only metadata.yaml/);
    expect(
      judge('rootfs', [{ name: './', type: '5' }, { name: './dev/null', type: '3' }, { name: './etc/x' }]),
    ).toMatchObject({
      './': 'keep',
      './dev/null': 'skip',
      './etc/x': 'keep',
    });
    expect(() => judge('rootfs', [{ name: '.', type: '2', link: '/' }])).toThrow(/must be a directory/);
    expect(() => judge('rootfs', [{ name: 'a', type: '1', link: '../x' }])).toThrow(/contains ".."/);
  });

  it('never lets through a name that leads out or replaces the top, however it is written', () => {
    const piece = fc.constantFrom('rootfs', '..', '.', '', 'a', 'metadata.yaml', 'templates', ' ..', '...');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), fc.constantFrom('0', '1', '2', '5'), (pieces, type) => {
        const name = pieces.join('/');
        const state = startInspection('unified');
        const entry: TarEntry = {
          name,
          kind: ({ 0: 'file', 1: 'hardlink', 2: 'symlink', 5: 'directory' } as const)[type],
          linkname: 'rootfs/a',
          mode: 0,
          uid: 0,
          gid: 0,
          size: 0,
          expandedSize: 0,
          xattrBytes: 0,
        };
        try {
          if (inspect(state, entry) === 'skip') return;
        } catch (error) {
          expect(isFairleadError(error, 'bad_image')).toBe(true);
          return;
        }
        const clean = new URL(`file:///base/${encodeURI(name)}`).pathname;
        expect(clean).toMatch(/^\/base\/+(\.\/)*(rootfs|metadata\.yaml|templates)(\/|$)/);
        if (/^\/base\/+rootfs\/*$/.test(clean)) expect(type).toBe('5');
      }),
    );
  });

  it('bounds the number of entries', () => {
    const state = startInspection('rootfs');
    state.entries = MAX_ENTRIES;
    expect(() =>
      inspect(state, {
        name: 'a',
        kind: 'file',
        linkname: '',
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        expandedSize: 0,
        xattrBytes: 0,
      }),
    ).toThrow(/more than 5000000 files/);
  });

  it('shows names without control characters', () => {
    expect(() => image({ name: '/\u001B[31m\nx' })).toThrow(/"\/\?\[31m\?x"/);
  });
});

describe('checkRatio', () => {
  it('takes 100:1, refuses more, and lets small images be', () => {
    expect(() => checkRatio(1_000_000, 100_000_000)).not.toThrow();
    expect(() => checkRatio(1_000_000, 100_000_001)).toThrow(/more than 100 times/);
    expect(() => checkRatio(100, 10 * 1024 * 1024)).not.toThrow();
  });
});

describe('MetadataFinder', () => {
  it('finds metadata.yaml in any place and cut into any pieces', () => {
    const whole = tarball([...GOOD_START.slice(1), { name: './metadata.yaml', data: GOOD_METADATA }]);
    const finder = new MetadataFinder('unified');
    for (let at = 0; at < whole.length; at += 100) finder.push(whole.subarray(at, at + 100));
    expect(finder.finish()).toMatchObject({ architecture: 'x86_64', properties: { release: '1.36' } });
  });
});
