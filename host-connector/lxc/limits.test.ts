import { describe, expect, it } from 'vitest';
import { limitsOf } from '#shared/config/limits.ts';
import { changedFiles, limitFiles, type LimitHost } from './limits.ts';

const HOST: LimitHost = { cgroup: 'hybrid', cpus: 8, memory: 2 ** 33, swapLimit: true };
const files = (config: Record<string, string>, id = 'a', host = HOST) => limitFiles(limitsOf(config), host, id, false);

describe('a live change of limits', () => {
  it('names only what changes, also back to no limit', () => {
    const limited = files({ 'limits.cpu.allowance': '20ms/100ms' });
    expect(changedFiles(files({}), limited)).toEqual([['cpu.cfs_quota_us', '20000']]);
    expect(changedFiles(limited, files({}))).toEqual([['cpu.cfs_quota_us', '-1']]);
  });
  it('never lets the v1 memory limit exceed that of memory and swap on the way', () => {
    const [small, large] = [files({ 'limits.memory': '64MiB' }), files({ 'limits.memory': '128MiB' })];
    expect(changedFiles(small, large).map(([file]) => file)).toEqual([
      'memory.memsw.limit_in_bytes',
      'memory.limit_in_bytes',
    ]);
    expect(changedFiles(large, small).map(([file]) => file)).toEqual([
      'memory.limit_in_bytes',
      'memory.memsw.limit_in_bytes',
    ]);
  });
});

describe('a number of processors', () => {
  it('is that many, the same ones at each start, different ones for different instances', () => {
    const chosen = ['a', 'b', 'c', 'd', 'e'].map((id) => files({ 'limits.cpu': '2' }, id).get('cpuset.cpus') ?? '');
    for (const set of chosen) expect(set.split(',')).toHaveLength(2);
    expect(new Set(chosen).size).toBeGreaterThan(1);
    expect(files({ 'limits.cpu': '2' }, 'a').get('cpuset.cpus')).toBe(chosen[0]);
  });
  it('is at most what the host has', () => {
    expect(files({ 'limits.cpu': '64' }).get('cpuset.cpus')).toBe('0,1,2,3,4,5,6,7');
  });
});

describe('swap', () => {
  it('may be given a size, or be forbidden', () => {
    const v2 = { ...HOST, cgroup: 'v2' } as const;
    expect(files({ 'limits.memory': '1GiB', 'limits.memory.swap': '512MiB' }, 'a', v2).get('memory.swap.max')).toBe(
      '536870912',
    );
    expect(files({ 'limits.memory.swap': 'false' }, 'a', v2).get('memory.swap.max')).toBe('0');
    expect(files({ 'limits.memory.swap': 'false' }).get('memory.swappiness')).toBe('0');
    expect(files({}, 'a', v2).get('memory.swap.max')).toBe('max');
  });
  it('is left alone where the kernel does not count it', () => {
    expect(
      files({ 'limits.memory': '1GiB' }, 'a', { ...HOST, swapLimit: false }).has('memory.memsw.limit_in_bytes'),
    ).toBe(false);
  });
});
