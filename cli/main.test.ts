import { describe, expect, it } from 'vitest';

import { against } from './testing/against.ts';
import { fairlead, FakeIo } from './testing/io.ts';
import { notFound, refused } from './testing/server.ts';

describe('the command', () => {
  it('takes everything behind -- for the command to run', async () => {
    const ran = await against({ 'POST /1.0/instances/c1/exec': () => refused(503, 'Host "foo" is offline') }, [
      'exec',
      'foo:c1',
      '--env',
      'A=b',
      '--cwd',
      '/tmp',
      '--',
      'sh',
      '-c',
      'echo --env',
      '--',
      '-t',
    ]);
    expect(ran).toMatchObject({
      code: 1,
      stderr: 'Error: Host "foo" is offline\n',
      calls: ['POST /1.0/instances/c1/exec?target=foo'],
    });
    expect(ran.bodies[0]).toMatchObject({
      command: ['sh', '-c', 'echo --env', '--', '-t'],
      environment: { A: 'b' },
      cwd: '/tmp',
      interactive: false,
    });
    const short = await against({ 'POST /1.0/instances/c1/exec': () => notFound('Instance not found') }, [
      'exec',
      'c1',
      '--',
      'ls',
      '-l',
    ]);
    expect(short.bodies[0]).toMatchObject({ command: ['ls', '-l'] });
  });

  it('says what is wrong with what was typed, on the standard error, with exit code 1', async () => {
    expect(await against({}, ['lsit'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^Error: unknown command 'lsit'\n.*Did you mean/s) as string,
    });
    expect(await against({}, ['stop'])).toMatchObject({ code: 1, stderr: "Error: missing required argument 'name'\n" });
    expect(await against({}, ['stop', 'a:b:c'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Error: "a:b:c" is no name/) as string,
    });
    expect(await against({}, ['stop', 'c1', '--timeout', 'x'])).toMatchObject({
      code: 1,
      stderr: 'Error: "x" is not a number.\n',
    });
  });

  it('helps', async () => {
    const ran = await against({}, ['--help']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    for (const verb of ['up', 'host', 'launch', 'list', 'exec', 'doctor']) expect(ran.stdout).toContain(`\n  ${verb}`);
  });

  it('says so when no control plane is set up', async () => {
    const ran = await fairlead(new FakeIo(), 'list');
    expect(ran).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^Error: No control plane is set up here .*Start one with: fairlead up\n$/,
      ) as string,
    });
  });
});
