import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deletedPaths, ownPaths, withParents, type Listing } from './tree.ts';

const listing = (entries: Record<string, string>): Listing =>
  new Map(Object.entries(entries).map(([path, type]) => [path, { type, changed: '1.0' }]));

describe('what a tree has of its own', () => {
  it('is its upper layer without whiteouts, or everything', () => {
    const merged = listing({ a: 'd', 'a/b': 'f', c: 'f' });
    expect(ownPaths(merged, listing({ a: 'd', 'a/b': 'f', gone: 'c' }))).toEqual(['a', 'a/b']);
    expect(ownPaths(merged, undefined)).toEqual(['a', 'a/b', 'c']);
  });
});

describe('what of the image a tree does not have', () => {
  it('is named by its topmost paths, and so is what changed between folder and file', () => {
    const image = listing({ d: 'd', 'd/x': 'f', 'd-y': 'f', f: 'f', l: 'f', k: 'd', 'k/z': 'f', stays: 'f' });
    const merged = listing({ f: 'd', l: 'l', k: 'f', stays: 'f' });
    expect(deletedPaths(image, merged)).toEqual(['d', 'd-y', 'f', 'k']);
  });

  it('taken away and put with what it has of its own gives the tree, whatever both are', () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'a-b', '~'), { minLength: 1, maxLength: 3 });
    const files = fc.array(path, { maxLength: 8 }).map(treeOf);
    fc.assert(
      fc.property(files, files, (image, merged) => {
        const deleted = deletedPaths(image, merged);
        const left = new Map(
          [...image].filter(([at]) => !deleted.some((top) => at === top || at.startsWith(`${top}/`))),
        );
        for (const at of left.keys()) expect(merged.has(at)).toBe(true);
        for (const at of ownPaths(merged, undefined)) {
          const before = left.get(at)?.type;
          expect(before === undefined || (before === 'd') === (merged.get(at)?.type === 'd')).toBe(true);
        }
        expect(deleted.some((one) => deleted.some((other) => one.startsWith(`${other}/`)))).toBe(false);
      }),
    );
  });
});

it('parents come with their paths, each once and first', () => {
  expect(withParents(['a/b/c', 'a/d', 'e'])).toEqual(['a', 'a/b', 'a/b/c', 'a/d', 'e']);
});

/** A tree with these files, as far as they do not lie in one another. */
function treeOf(paths: string[][]): Listing {
  const tree = new Map<string, { type: string; changed: string }>();
  for (const path of paths) {
    const parents = path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join('/'));
    if (parents.some((parent) => tree.get(parent)?.type === 'f') || tree.has(path.join('/'))) continue;
    for (const parent of parents) tree.set(parent, { type: 'd', changed: '1.0' });
    tree.set(path.join('/'), { type: 'f', changed: '1.0' });
  }
  return tree;
}
