import { describe, expect, it } from 'vitest';
import { errorsIn } from './reasons.ts';

const LOG = `(00.004730) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.030000) Warn  (criu/cr-dump.c:10): harmless
(00.031000) Error (criu/namespaces.c:460): Can't dump nested uts namespace for 77
(00.031500) Error (criu/namespaces.c:721): Can't make utsns id
(00.032000) Error (criu/namespaces.c:721): Can't make utsns id
(00.048230) Error (criu/cr-dump.c:2128): Dumping FAILED.
`;

describe("CRIU's reasons", () => {
  it('are its errors, each once, without the noise of every run', () => {
    expect(errorsIn(LOG)).toBe("Can't dump nested uts namespace for 77; Can't make utsns id");
  });
  it('are empty when it names none, and never carry control characters', () => {
    expect(errorsIn('all is well\n')).toBe('');
    expect(errorsIn('Error (criu/x.c:1): bad\u0007 name\n')).toBe('bad  name');
  });
});
