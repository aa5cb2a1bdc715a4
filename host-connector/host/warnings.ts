/** What an administrator should know about a host, each with what to do. Pure. */

/** What was found. */
export interface Findings {
  readonly missing: readonly (readonly [program: string, install: string])[];
  readonly criu: { readonly version: string; readonly ok: boolean; readonly message: string } | undefined;
  readonly apparmor: boolean;
  /** Undefined where nobody can tell. */
  readonly clockSynchronised: boolean | undefined;
  /** Whether root may map the host ids that containers get. */
  readonly idRanges: boolean;
  readonly swapLimit: boolean;
}

/** Older ones cannot dump a socket on kernels from 6.16 on. */
const MIN_CRIU = { major: 4, minor: 2 };

/** The warnings, most pressing first. */
export function warningsOf(found: Findings): string[] {
  const warnings: string[] = [];
  for (const [program, install] of found.missing) warnings.push(`"${program}" is missing: install ${install}`);
  if (!found.idRanges) {
    warnings.push(
      'root may not map the host ids that containers get: add root:1000000:1000000000 to /etc/subuid and /etc/subgid',
    );
  }
  if (found.clockSynchronised === false)
    warnings.push('the clock is not synchronised: enable systemd-timesyncd or chrony');
  if (found.criu && isOld(found.criu.version)) {
    warnings.push(
      `CRIU ${found.criu.version} is too old to move running instances on new kernels: install 4.2 or newer`,
    );
  } else if (found.criu && !found.criu.ok) {
    warnings.push(`instances cannot be moved while they run: "criu check" says: ${found.criu.message.slice(0, 300)}`);
  }
  if (!found.apparmor)
    warnings.push('AppArmor is off: containers are confined by user namespaces, capabilities and seccomp only');
  if (!found.swapLimit)
    warnings.push('the kernel does not count swap: limits.memory bounds memory only; boot with swapaccount=1');
  return warnings;
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < MIN_CRIU.major || (major === MIN_CRIU.major && minor < MIN_CRIU.minor);
}
