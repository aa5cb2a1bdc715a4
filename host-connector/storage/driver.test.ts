import { describe, expect, it } from 'vitest';
import { assertPlainPath, isMounted } from './driver.ts';

describe('assertPlainPath', () => {
  it('takes paths of ours and no other', () => {
    expect(assertPlainPath('/var/lib/fairlead/instances/0190-af/upper')).toMatch(/upper$/);
    for (const path of ['relative', '/a,b', '/a:b', '/a b', '/a\\b', '/a\nb', '/a/../b', '', '/'])
      expect(() => assertPlainPath(path)).toThrow(/characters that a mount does not take/);
  });
});

describe('isMounted', () => {
  it('knows mounts from folders', async () => {
    expect(await isMounted('/proc')).toBe(true);
    expect(await isMounted('/usr/bin')).toBe(false);
    expect(await isMounted('/does/not/exist')).toBe(false);
  });
});
