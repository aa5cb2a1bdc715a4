import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limitsOf } from './limits.ts';
import { readBitRate, readCpu, readCpuAllowance, readCpuSet, readPercent, readRlimit, readSize } from './quantities.ts';

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['4096B', 4096],
    ['1kB', 1000],
    ['1KB', 1000],
    ['1KiB', 1024],
    ['512MiB', 512 * 1024 ** 2],
    ['1GB', 10 ** 9],
    ['2TiB', 2 * 1024 ** 4],
    ['10bytes', 10],
  ])('%s is %d bytes', (text, bytes) => {
    expect(readSize(text)).toBe(bytes);
  });

  it.each(['', 'MiB', '1iB', '1Gi', '1 GB', '-1', '1e3', '9EiB', '0x10', '1gb'])('%j is none', (text) => {
    expect(readSize(text)).toBeUndefined();
  });

  it('read as written', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 20 }),
        (n) => readSize(`${n}GiB`) === n * 1024 ** 3 && readBitRate(`${n}Mbit`) === n * 1e6,
      ),
    );
  });
});

describe('processors', () => {
  it('are counted or named', () => {
    expect(readCpu('2')).toEqual({ count: 2 });
    expect(readCpu('0-3')).toEqual({ set: [0, 1, 2, 3] });
    expect(readCpu('3,1')).toEqual({ set: [1, 3] });
    expect(readCpu('1-1')).toEqual({ set: [1] });
  });

  it('are named once each, however they are written', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 8191 }), { minLength: 1, maxLength: 40 }), (cpus) => {
        expect(readCpuSet(cpus.join(','))).toEqual([...cpus].sort((a, b) => a - b));
        expect(readCpuSet([...cpus, cpus[0]].join(','))).toBeUndefined();
      }),
    );
  });

  it('are allowed a share or a quota', () => {
    expect(readCpuAllowance('50%')).toEqual({ percent: 50 });
    expect(readCpuAllowance('25ms/100ms')).toEqual({ quotaMicros: 25_000, periodMicros: 100_000 });
    expect(readCpuAllowance('25/100')).toBeUndefined();
    expect(readPercent('0%')).toBeUndefined();
  });
});

describe('limits of a configuration', () => {
  it('of an empty one are the defaults', () => {
    expect(limitsOf({})).toEqual({
      memoryEnforce: 'hard',
      swap: true,
      swapPriority: 10,
      cpuAllowance: { percent: 100 },
      cpuPriority: 10,
      diskPriority: 5,
      networkPriority: 0,
      oomPriority: 0,
      hugepages: {},
      rlimits: {},
    });
  });

  it('are numbers', () => {
    const limits = limitsOf({
      'limits.memory': '25%',
      'limits.memory.swap': '1GiB',
      'limits.cpu': '0-1',
      'limits.cpu.allowance': '10ms/20ms',
      'limits.processes': '200',
      'limits.hugepages.2MB': '64MiB',
      'limits.kernel.nofile': '1024',
    });
    expect(limits).toMatchObject({
      memoryPercent: 25,
      swap: 1024 ** 3,
      cpuSet: [0, 1],
      cpuAllowance: { quotaMicros: 10_000, periodMicros: 20_000 },
      processes: 200,
      hugepages: { '2MB': 64 * 1024 ** 2 },
      rlimits: { nofile: { soft: '1024', hard: '1024' } },
    });
    expect(limits).not.toHaveProperty('memoryBytes');
    expect(limitsOf({ 'limits.memory': '1GiB', 'limits.memory.swap': '0' })).toMatchObject({
      memoryBytes: 1024 ** 3,
      swap: false,
    });
  });

  it('are refused with the key and what was expected', () => {
    expect(() => limitsOf({ 'limits.memory': 'lots' })).toThrow(
      'limits.memory is "lots"; expected a size such as 512MiB',
    );
  });

  it('of a process are soft and hard', () => {
    expect(readRlimit('1:unlimited')).toEqual({ soft: '1', hard: 'unlimited' });
    expect(readRlimit('1:')).toBeUndefined();
  });
});
