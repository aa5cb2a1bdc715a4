/** `raw.lxc`: lines of LXC configuration written by a user. It has a parser of its own because it alone has many lines. */

import { quote } from '../lxd/parse.ts';

export interface RawLxcLine {
  readonly key: string;
  readonly value: string;
  /** Why this line is refused, as a phrase; absent when it is fine. */
  readonly problem?: string;
}

/**
 * Keys nobody sets by hand, whatever a project or host allows: they would run a program on the host, read any of its
 * files, or take from Fairlead what it must know about the container.
 */
const RESERVED: readonly (readonly [key: RegExp, why: string])[] = [
  [/^lxc\.hook(\.|$)/, 'hooks run on the host'],
  [/^lxc\.include$/, 'it reads files of the host'],
  [/^lxc\.(?:idmap|id_map)$/, 'Fairlead keeps the id map'],
  [/^lxc\.rootfs(\.|$)/, 'Fairlead keeps the root file system'],
  [/^lxc\.(?:log|logfile|loglevel|syslog|console|ephemeral|monitor|execute|tty\.dir)(\.|$)/, 'Fairlead sets it'],
  [/^lxc\.(?:uts|utsname|arch)(\.|$)/, 'Fairlead sets it'],
  [/^lxc\.(?:net|network)(\.|$)/, 'network interfaces are devices of type nic'],
  [/^lxc\.(?:cgroup|cgroup2)\.(?:dir|relative)(\.|$)/, 'Fairlead keeps the cgroup'],
  [/^lxc\.(?:environment)$/, 'use environment.NAME'],
  [/^lxc\.prlimit(\.|$)/, 'use limits.kernel.NAME'],
  [/^lxc\.sysctl(\.|$)/, 'use linux.sysctl.NAME'],
];

/**
 * Every line that is not blank and not a comment, in order, each judged. A line with a CR is refused even as a comment:
 * for liblxc a new line begins there.
 */
export function readRawLxc(text: string): RawLxcLine[] {
  return text
    .split('\n')
    .filter((line) => line.includes('\r') || !/^ *(?:#|$)/.test(line))
    .map(judge);
}

/** Why `text` is refused: its first wrong line, as a phrase; undefined when all are fine. */
export function rawLxcProblem(text: string): string | undefined {
  const wrong = readRawLxc(text).find((line) => line.problem !== undefined);
  return wrong && `has the line ${quote(wrong.key)}, which ${wrong.problem}`;
}

function judge(line: string): RawLxcLine {
  const at = line.indexOf('=');
  const key = (at < 0 ? line : line.slice(0, at)).trim();
  const value = at < 0 ? '' : line.slice(at + 1).trim();
  if (at < 0) return { key, value, problem: 'has no "="' };
  if (/[\r\t]/.test(line)) return { key, value, problem: 'holds a control character' };
  if (!/^lxc\.[a-z0-9_.-]+$/.test(key)) return { key, value, problem: 'is no LXC key' };
  const reserved = RESERVED.find(([pattern]) => pattern.test(key));
  return reserved ? { key, value, problem: `is reserved: ${reserved[1]}` } : { key, value };
}
