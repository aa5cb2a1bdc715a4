import { mkdtemp, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseLeases, watchLeases, type Lease } from './leases.ts';
import { nftTable } from './masquerade.ts';
import { dhcpRange, networkOf, parseSubnet, pickSubnet } from './subnet.ts';

describe('the network of the bridge', () => {
  it('is the first that no route of the host touches', () => {
    expect(pickSubnet(['default', '192.168.1.0/24'])).toEqual({ address: '10.58.0.1', prefix: 24 });
    expect(pickSubnet(['10.58.0.0/16', '10.59.0.7'])).toEqual({ address: '10.60.0.1', prefix: 24 });
    expect(pickSubnet(['10.0.0.0/8'])).toBeUndefined();
  });
  it('is read from text and knows its range for guests', () => {
    const subnet = parseSubnet('172.30.4.1/22\n');
    expect(subnet).toEqual({ address: '172.30.4.1', prefix: 22 });
    expect(networkOf(subnet!)).toBe('172.30.4.0/22');
    expect(dhcpRange(subnet!)).toEqual(['172.30.4.2', '172.30.7.254']);
    for (const bad of ['', '10.0.0.1', '10.0.0.300/24', '10.0.0.1/33', '10.0.0.1/24; x'])
      expect(parseSubnet(bad)).toBeUndefined();
  });
  it('is masqueraded by a table that is replaced as a whole', () => {
    expect(nftTable('flbr0', '10.58.0.0/24')).toMatch(/^add table ip fairlead_flbr0\ndelete table ip fairlead_flbr0\n/);
  });
});

describe('leases', () => {
  const LINE = '1795203600 00:16:3E:01:02:03 10.58.0.9 c1 01:00:16:3e:01:02:03';
  it('are read by hardware address; what is no lease is left out', () => {
    expect(parseLeases(`duid 00:01\n${LINE}\n\n`)).toEqual([
      { hwaddr: '00:16:3e:01:02:03', address: '10.58.0.9', expires: 1_795_203_600_000 },
    ]);
  });
  it('are told when they change, also when the file is replaced', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'leases-')), 'leases');
    const told: Lease[] = [];
    const close = watchLeases(
      path,
      (lease) => told.push(lease),
      (error) => expect.fail(String(error)),
    );
    await writeFile(`${path}.new`, `${LINE}\n`);
    await rename(`${path}.new`, path);
    await expect.poll(() => told.map(({ address }) => address), { timeout: 5000 }).toEqual(['10.58.0.9']);
    close();
  });
});
