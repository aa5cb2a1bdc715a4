import { describe, expect, it } from 'vitest';

import type { HostFacts } from '#shared/link/commands.ts';
import type { Server } from '#shared/lxd/server.ts';
import { statusFields, STATUS } from '#shared/lxd/status.ts';
import type { Host } from './client/fleet.ts';
import { diagnoseHosts, diagnoseOperations, diagnoseServer } from './diagnosis.ts';
import { operation } from './testing/server.ts';

const NOW = Date.parse('2026-11-20T20:00:00Z');
const GB = 1e9;
const facts = {
  disk: { total: 100 * GB, free: 50 * GB },
  criu: { version: '4.1', ok: true, message: '' },
  warnings: [] as string[],
};
const host = (fields: Partial<Host> = {}, more: Partial<typeof facts> = {}): Host => ({
  id: 'h',
  name: 'foo',
  site: 's',
  labels: {},
  status: 'online',
  since: '2026-11-20T17:00:00Z',
  facts: { ...facts, ...more } as HostFacts,
  enrolledAt: '2026-11-01T00:00:00Z',
  ...fields,
});
const server = { auth: 'trusted', environment: { server_version: '0.1.0' } } as Server;
const seen = { url: 'https://h', server, clientVersion: '0.1.0', clock: NOW, before: NOW, after: NOW + 20 };
const problems = (findings: readonly { level: string; what: string }[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ level, what }) => `${level}: ${what}`);

describe('diagnosis', () => {
  it('finds nothing wrong with a well fleet', () => {
    const all = [...diagnoseServer(seen), ...diagnoseHosts([host()], NOW), ...diagnoseOperations([operation()], NOW)];
    expect(all.map(({ what }) => what)).toEqual([
      'https://h answers in 20 ms, version 0.1.0',
      '1 of 1 hosts online',
      'no operation is stuck',
    ]);
  });

  it('finds clocks apart, but not the second an HTTP date is coarse', () => {
    expect(problems(diagnoseServer({ ...seen, clock: NOW - 45_000 }))).toEqual([
      'problem: The clocks here and there are 44 s apart',
    ]);
    expect(problems(diagnoseServer({ ...seen, clock: NOW - 999 }))).toEqual([]);
    expect(problems(diagnoseServer({ ...seen, clock: undefined }))).toEqual([]);
  });

  it('finds a token that is not known, and other versions', () => {
    expect(problems(diagnoseServer({ ...seen, server: { ...server, auth: 'untrusted' } }))).toEqual([
      'problem: https://h does not know this token',
    ]);
    expect(problems(diagnoseServer({ ...seen, clientVersion: '0.2.0' }))).toEqual([
      'warning: This command has version 0.2.0, the control plane 0.1.0',
    ]);
  });

  it('finds hosts that are away, full, or warn', () => {
    expect(problems(diagnoseHosts([host({ status: 'offline' })], NOW))).toEqual(['problem: Host foo is offline, 3h']);
    expect(problems(diagnoseHosts([host({ status: 'quarantined' })], NOW))).toEqual([
      'problem: Host foo is quarantined, 3h',
    ]);
    expect(
      problems(diagnoseHosts([host({}, { disk: { total: 100 * GB, free: 9 * GB }, warnings: ['no cgroup v2'] })], NOW)),
    ).toEqual(['warning: Host foo has only 8.38GiB of 93.13GiB disk left', 'warning: Host foo: no cgroup v2']);
    expect(problems(diagnoseHosts([], NOW))).toEqual(['warning: No host has joined']);
  });

  it('finds operations that do not end, but no open terminals', () => {
    const old = { created_at: '2026-11-20T19:00:00Z', ...statusFields(STATUS.running) };
    expect(problems(diagnoseOperations([operation(old), operation({ ...old, class: 'websocket' })], NOW))).toEqual([
      'warning: "Creating instance" goes on since 1h',
    ]);
  });

  it('always says what to do about a problem', () => {
    const all = [
      ...diagnoseServer({ ...seen, clock: 0 }),
      ...diagnoseHosts([host({ status: 'offline' }), host({ status: 'quarantined' })], NOW),
    ];
    for (const { level, todo } of all) if (level === 'problem') expect(todo).toBeTruthy();
  });
});
