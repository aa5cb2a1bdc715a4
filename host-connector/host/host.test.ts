import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hostPaths } from './paths.ts';
import { allowedBy, loadPolicy } from './policy.ts';
import { covers, ensureSubordinateIds } from './subids.ts';
import { warningsOf } from './warnings.ts';

const folder = () => mkdtemp(join(tmpdir(), 'host-'));

describe('paths', () => {
  it('are built from uuids only', () => {
    const paths = hostPaths('/var/lib/fairlead');
    expect(paths.instance('0a1b2c3d-0000-4000-8000-000000000001').config).toBe(
      '/var/lib/fairlead/instances/0a1b2c3d-0000-4000-8000-000000000001/config',
    );
    for (const id of ['..', 'a/b', '', '0A1B2C3D-0000-4000-8000-000000000001']) {
      expect(() => paths.instance(id)).toThrow(/not the id/);
    }
  });
  it('refuse a state folder that liblxc could not address', () => {
    expect(() => hostPaths(`/${'x'.repeat(60)}`)).toThrow(/at most 50/);
    expect(() => hostPaths('relative')).toThrow(/absolute/);
  });
});

describe('the policy file', () => {
  const owner = process.getuid?.() ?? 0;
  it('is closed by default', async () => {
    const loaded = await loadPolicy(join(await folder(), 'none'));
    expect(loaded.hash).toBe('');
    expect(allowedBy(loaded.policy)).toEqual(['exec', 'live', 'nesting', 'kernel-modules']);
  });
  it('is read with its hash', async () => {
    const path = join(await folder(), 'policy.json');
    await writeFile(path, '{"allow_privileged": true, "allow_exec": false}', { mode: 0o600 });
    const loaded = await loadPolicy(path, owner);
    expect(allowedBy(loaded.policy)).toContain('privileged');
    expect(allowedBy(loaded.policy)).not.toContain('exec');
    expect(loaded.hash).toMatch(/^[0-9a-f]{64}$/);
  });
  it('is refused when others may write it, when it is not root’s, and when it does not read', async () => {
    const path = join(await folder(), 'policy.json');
    await writeFile(path, '{}');
    await chmod(path, 0o666);
    await expect(loadPolicy(path, owner)).rejects.toThrow(/chmod go-w/);
    await chmod(path, 0o600);
    await expect(loadPolicy(path, owner + 1)).rejects.toThrow(/chown root/);
    await writeFile(path, '{"allow_everything": true}');
    await expect(loadPolicy(path, owner)).rejects.toThrow(/allow_everything/);
    await writeFile(path, 'no json');
    await expect(loadPolicy(path, owner)).rejects.toThrow(/nothing is allowed/);
  });
});

describe('subordinate ids', () => {
  const range = { base: 1_000_000, size: 65_536 };
  it('are covered by one line of root', () => {
    expect(covers('me:1:2\nroot:100000:100000000\n', range)).toBe(true);
    expect(covers('root:100000:65536\nroot:1000000:65535\n', range)).toBe(false);
  });
  it('are added once, behind what is there', async () => {
    const path = join(await folder(), 'subuid');
    await writeFile(path, 'me:100000:65536');
    expect(await ensureSubordinateIds(range, [path])).toEqual([path]);
    expect(await ensureSubordinateIds(range, [path])).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe('me:100000:65536\nroot:1000000:65536\n');
  });
  it('are not taken from somebody else', async () => {
    const path = join(await folder(), 'subuid');
    await writeFile(path, 'me:1000000:100\n');
    await expect(ensureSubordinateIds(range, [path])).rejects.toThrow(/"me"/);
  });
});

describe('warnings', () => {
  const fine = {
    missing: [],
    criu: undefined,
    apparmor: true,
    clockSynchronised: true,
    idRanges: true,
    swapLimit: true,
  };
  it('are none for a host with everything', () => {
    expect(warningsOf(fine)).toEqual([]);
  });
  it('say what to do', () => {
    expect(warningsOf({ ...fine, missing: [['dnsmasq', 'dnsmasq-base']] })).toEqual([
      '"dnsmasq" is missing: install dnsmasq-base',
    ]);
    expect(warningsOf({ ...fine, criu: { version: '4.1.1', ok: true, message: '' } })[0]).toMatch(/install 4.2/);
    expect(warningsOf({ ...fine, criu: { version: '4.10', ok: false, message: 'no' } })[0]).toMatch(
      /cannot be moved.*no/,
    );
  });
});
