/** The system calls no container needs and every kernel exploit likes (security note 6.1), in liblxc's profile format, version 2. */

const ENOSYS = 38;
const EPERM = 1;

/** Refused in every container. */
const ALWAYS: ReadonlyArray<readonly [string, number]> = [
  ['kexec_load', ENOSYS],
  ['kexec_file_load', ENOSYS],
  ['open_by_handle_at', ENOSYS],
  ['init_module', ENOSYS],
  ['finit_module', ENOSYS],
  ['delete_module', ENOSYS],
  ['perf_event_open', EPERM],
  ['userfaultfd', EPERM],
];

/** Refused unless containers may run inside: runc and systemd-in-docker want these. */
const UNLESS_NESTING: ReadonlyArray<readonly [string, number]> = [
  ['bpf', EPERM],
  ['keyctl', ENOSYS],
  ['add_key', ENOSYS],
  ['request_key', ENOSYS],
];

/** Name of the profile file for a container. */
export function seccompName(nesting: boolean): string {
  return nesting ? 'nesting.seccomp' : 'default.seccomp';
}

/** Text of the profile. */
export function seccompProfile(nesting: boolean): string {
  const rules = nesting ? ALWAYS : [...ALWAYS, ...UNLESS_NESTING];
  return [
    '2',
    'denylist',
    'reject_force_umount',
    '[all]',
    ...rules.map(([call, errno]) => `${call} errno ${errno}`),
    '',
  ].join('\n');
}
