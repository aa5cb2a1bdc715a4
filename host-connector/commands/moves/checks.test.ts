import { describe, expect, it } from 'vitest';
import type { CriuFacts } from '#shared/link/moves.ts';
import { cpuFlags } from '../../host/criu.ts';
import { specOf } from '../fake-host.ts';
import { sourceBlockers, targetBlockers } from './checks.ts';

const CRIU: CriuFacts = { version: '4.2.1', kernel: '6.18.44', architecture: 'x64', cpu: ['avx', 'avx2', 'sse4_2'] };
const IDS = { base: 1_000_000, size: 1_000_000_000 };
const what = (blockers: readonly { what: string }[]): string[] => blockers.map((blocker) => blocker.what);

describe('what stands against taking memory away', () => {
  const stateful = specOf({
    config: { 'migration.stateful': 'true' },
    devices: { eth0: { type: 'nic' }, root: { type: 'disk', path: '/' } },
  });

  it('is nothing for a running instance that was made for it', () => {
    expect(sourceBlockers(stateful, true, true, CRIU)).toEqual([]);
  });

  it('is nothing without memory', () => {
    expect(sourceBlockers(specOf(), false, false, undefined)).toEqual([]);
  });

  it('is told all at once, each with its cure, and leaves the cold move', () => {
    const devices = { disk: { type: 'disk', path: '/data', source: '/srv' }, tty: { type: 'unix-char' } };
    const config = { 'security.nesting': 'true', 'security.privileged': '1' };
    const found = sourceBlockers(specOf({ config, devices }), false, true, undefined);
    expect(what(found)).toEqual([
      'state',
      'migration.stateful',
      'security.privileged',
      'security.nesting',
      'device',
      'device',
      'criu',
    ]);
    expect(found.every(({ stops, cure }) => stops === 'live' && cure !== '')).toBe(true);
  });
});

describe('what stands against bringing memory back', () => {
  it('is nothing where host and source are alike, or the host is newer', () => {
    const newer = { ...CRIU, version: '4.3', kernel: '7.0.1', cpu: [...CRIU.cpu, 'avx512'] };
    expect(targetBlockers({ criu: CRIU, idmap: IDS }, IDS, CRIU)).toEqual([]);
    expect(targetBlockers({ criu: CRIU, idmap: IDS }, IDS, newer)).toEqual([]);
  });

  it('is another map of ids, an older CRIU or kernel, another architecture, a processor that knows less', () => {
    const older = { version: '4.1.1', kernel: '6.1.0-28-amd64', architecture: 'arm64', cpu: ['avx'] };
    const found = targetBlockers({ criu: CRIU, idmap: { ...IDS, base: 5 } }, IDS, older);
    expect(what(found)).toEqual(['idmap', 'architecture', 'criu', 'kernel', 'processor']);
    expect(found.at(-1)?.why).toBe("The target's processor lacks avx2, sse4_2.");
    expect(what(targetBlockers({ criu: CRIU }, IDS, undefined))).toEqual(['criu']);
  });
});

it('the flags of a processor are sorted words', () => {
  expect(cpuFlags('processor : 0\nflags\t\t: sse2 avx  fpu\nbugs : x\n\nprocessor : 1\nflags : other\n')).toEqual([
    'avx',
    'fpu',
    'sse2',
  ]);
  expect(cpuFlags('')).toEqual([]);
});
