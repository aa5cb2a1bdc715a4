import { describe, expect, it } from 'vitest';
import { reasonsIn } from './log.ts';
import { parseMonitorLine } from './monitor.ts';
import { parseInfo } from './runtime.ts';
import { runningIds } from './sockets.ts';

describe('running containers', () => {
  it('are those with a command socket below our folder', () => {
    const text = [
      'Num       RefCount Protocol Flags    Type St Inode Path',
      '0000: 00000002 00000000 00010000 0001 01 1 @/var/lib/fairlead/instances/aaa/command',
      '0000: 00000003 00000000 00000000 0001 03 2 @/var/lib/fairlead/instances/bbb/command',
      '0000: 00000002 00000000 00010000 0001 01 3 @/var/lib/lxc/ccc/command',
      '0000: 00000002 00000000 00010000 0001 01 4 @/var/lib/fairlead/instances/ddd/other',
    ].join('\n');
    expect(runningIds(text, '/var/lib/fairlead/instances')).toEqual(new Set(['aaa', 'bbb']));
  });
});

describe('lxc-info', () => {
  it('is read with state and pid', () => {
    expect(parseInfo('State:          RUNNING\nPID:            123\n')).toMatchObject({ status: 'Running', pid: 123 });
    expect(parseInfo('State:          FROZEN\nPID:            123\n')).toMatchObject({ status: 'Frozen', pid: 123 });
    expect(parseInfo('State:          STOPPED\n')).toEqual({ status: 'Stopped', pid: 0, stopping: false });
  });
  it('counts what is on its way as running, and nothing as stopped', () => {
    expect(parseInfo('State:          STOPPING\nPID:            5\n')).toEqual({
      status: 'Running',
      pid: 5,
      stopping: true,
    });
    expect(parseInfo('')).toMatchObject({ status: 'Stopped', pid: 0 });
  });
});

describe('a line of lxc-monitor', () => {
  it('is a state, an exit, or nothing', () => {
    expect(parseMonitorLine("'abc' changed state to [RUNNING]")).toEqual({
      kind: 'state',
      id: 'abc',
      state: 'RUNNING',
    });
    expect(parseMonitorLine("'abc' exited with status [256]")).toEqual({ kind: 'exited', id: 'abc', status: 256 });
    expect(parseMonitorLine('lxc-monitor: something')).toBeUndefined();
  });
});

describe("LXC's log", () => {
  it('gives the first causes, each once, without what always stands there', () => {
    const log = [
      'lxc-start x 20261120193412.101 ERROR    confile - ../src/lxc/confile.c:f:1 - Unsupported config key "lxc.seccomp"',
      'lxc-start x 20261120193412.102 WARN     start - ../src/lxc/start.c:g:2 - never mind',
      'lxc-start x 20261120193412.103 ERROR    network - ../src/lxc/network.c:h:3 - Bridge "flbr0" does not exist',
      'lxc-start x 20261120193412.103 ERROR    network - ../src/lxc/network.c:h:3 - Bridge "flbr0" does not exist',
      'lxc-start x 20261120193412.104 ERROR    lxc_start - ../src/lxc/tools/lxc_start.c:main:4 - The container failed to start',
    ].join('\n');
    expect(reasonsIn(log)).toBe('Bridge "flbr0" does not exist');
    expect(reasonsIn('')).toBe('');
  });
});
