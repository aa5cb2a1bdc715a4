import { describe, expect, it } from 'vitest';

import { against } from '../testing/against.ts';
import { useUtc } from '../testing/utc.ts';
import { ok, operation, refused, started } from '../testing/server.ts';

useUtc();

const done = operation({ metadata: { downtime_ms: 1234, bytes: 2048 } });

describe('move', () => {
  it('says what was sent and how long it stood still', async () => {
    const ran = await against({ 'POST /1.0/fleet/moves': () => started(done) }, ['move', 'foo:c1', 'bar:']);
    expect(ran).toMatchObject({ code: 0, stdout: 'c1 is on bar (2.00KiB sent, it stood still for 1.2 s)\n' });
    expect(ran.bodies[0]).toEqual({ instance: 'c1', from: 'foo', to: 'bar', keep: true });
  });

  it('takes another name, and asks for a cold move without a copy left', async () => {
    const words = ['mv', 'c1', 'bar:c2', '--cold', '--no-keep', '--no-wait'];
    const ran = await against({ 'POST /1.0/fleet/moves': () => started(done) }, words);
    expect(ran.bodies[0]).toEqual({ instance: 'c1', to: 'bar', name: 'c2', live: false, keep: false });
    expect(ran.stderr).toContain('fairlead operation show');
  });

  it('wants a host with its colon', async () => {
    const ran = await against({}, ['move', 'c1', 'bar']);
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('write "bar:"') as string, calls: [] });
  });

  it('hands on the reasons of a refusal', async () => {
    const ran = await against({ 'POST /1.0/fleet/moves': () => refused(400, 'Cannot move "c1": no.') }, [
      'move',
      'c1',
      'bar:',
    ]);
    expect(ran).toMatchObject({ code: 1, stderr: 'Error: Cannot move "c1": no.\n' });
  });

  it('--check prints the way, and what stands against it with its cure', async () => {
    const blockers = [{ what: 'criu', why: 'CRIU is not installed.', cure: 'Install it.', stops: 'live' }];
    const check = (found: object) =>
      against({ 'POST /1.0/fleet/moves': () => ok({ running: true, disk: 1024, memory: 1024, ...found }) }, [
        'move',
        'c1',
        'bar:',
        '--check',
      ]);
    expect(await check({ rung: 'live', blockers: [] })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^c1 can be moved to bar live: about 2\.00KiB/) as string,
    });
    const cold = await check({ blockers });
    expect(cold).toMatchObject({ code: 1 });
    expect(cold.stdout).toBe(
      'c1 cannot be moved to bar live; --cold may be a way\n  not live: CRIU is not installed. Install it.\n',
    );
    expect(cold.bodies[0]).toMatchObject({ check: true });
  });
});

describe('move list', () => {
  it('shows where each went, how, and until when the source keeps its copy', async () => {
    const move = {
      id: 'm1',
      instance: 'c1',
      name: 'c2',
      source: 'foo',
      target: 'bar',
      live: true,
      state: 'DONE',
      created_at: '2026-11-20T18:05:00Z',
      bytes: 2048,
      downtime_ms: 1234,
      kept_until: '2026-11-21T18:05:00Z',
    };
    const { stdout } = await against({ 'GET /1.0/fleet/moves': () => ok([move]) }, ['move', 'list', '-f', 'csv']);
    expect(stdout).toBe('m1,c1 as c2,foo,bar,live,DONE,2.00KiB,1.2 s,2026/11/20 18:05 UTC,2026/11/21 18:05 UTC\n');
  });
});
