import { describe, expect, it } from 'vitest';
import { attachArgv, attachEnvironment, type AttachRequest } from './attach.ts';

const REQUEST: AttachRequest = {
  command: ['ls', '-l'],
  environment: {},
  cwd: '',
  user: 0,
  group: 0,
  interactive: false,
  width: 0,
  height: 0,
};

describe('the call of lxc-attach', () => {
  it('clears the environment and gives LXD’s own', () => {
    expect(attachEnvironment(REQUEST)).toMatchObject({ HOME: '/root', USER: 'root', LANG: 'C.UTF-8' });
    expect(attachEnvironment({ ...REQUEST, user: 1000 })).not.toHaveProperty('HOME');
    expect(attachEnvironment({ ...REQUEST, interactive: true, environment: { TERM: 'vt100' } })).toMatchObject({
      TERM: 'vt100',
    });
  });
  it('takes the command as arguments, whatever is in it', () => {
    const argv = attachArgv('/i', 'x', { ...REQUEST, command: ['-x', '$(reboot)', "'"] });
    expect(argv.slice(argv.indexOf('--'))).toEqual(['--', '-x', '$(reboot)', "'"]);
    expect(argv).toContain('--clear-env');
  });
  it('changes the folder by a shell whose script holds nothing of the request', () => {
    const argv = attachArgv('/i', 'x', { ...REQUEST, cwd: '/tmp; reboot' });
    expect(argv.slice(argv.indexOf('--'))).toEqual([
      '--',
      '/bin/sh',
      '-c',
      'cd -- "$1" || exit 126; shift; exec "$@"',
      'sh',
      '/tmp; reboot',
      'ls',
      '-l',
    ]);
  });
  it('refuses what cannot be an argument or a variable', () => {
    expect(() => attachArgv('/i', 'x', { ...REQUEST, command: ['a\0b'] })).toThrow(/NUL/);
    expect(() => attachArgv('/i', 'x', { ...REQUEST, environment: { 'A=B': '' } })).toThrow(/no name of a variable/);
  });
});
