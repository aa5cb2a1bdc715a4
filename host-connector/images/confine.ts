/**
 * Runs a program that handles bytes of strangers where it can reach nothing: a user namespace with the container's ids, own
 * mount, pid, net, ipc and uts namespaces, and a root that holds the host's programs read-only and one folder at /out.
 * What it unpacks therefore belongs to the container's ids from the start, setuid bits and capabilities included.
 */
import { writeFile } from 'node:fs/promises';
import { FairleadError } from '#shared/errors.ts';
import { reasonOf, type Argv, type PipedChild, type spawnPiped } from '../process.ts';

/** The host's ids a container's ids 0 to size-1 are mapped to, beginning with `base`. */
export interface IdMap {
  readonly base: number;
  readonly size: number;
}

/** What a confined program may reach. */
export interface Confinement {
  readonly idmap: IdMap;
  /** An empty folder that serves as mount point; nothing is written into it. */
  readonly scratch: string;
  /** The only folder of the host it sees, as /out. */
  readonly folder?: { readonly path: string; readonly access: 'ro' | 'rw' };
  /** Largest file it may write, in bytes. */
  readonly maxFileBytes: number;
}

export type Spawn = typeof spawnPiped;

/** How long making a user namespace may take. */
const USER_NAMESPACE_MS = 10_000;

/**
 * Constant; all that varies comes as positional arguments. It runs as pid 1 of its namespaces and stays the parent of the
 * confined program, so that killing it ends everything. /proc is there only while `umount` needs it.
 */
const ENTER = `set -eu
userns=$1 root=$2 folder=$3 access=$4 blocks=$5
shift 5
mount --make-rprivate /
mount -t tmpfs -o mode=0755,size=1m,nr_inodes=64,nosuid,nodev tmpfs "$root"
mkdir "$root/usr" "$root/out" "$root/dev" "$root/old" "$root/proc"
: > "$root/userns"
: > "$root/dev/null"
for d in usr bin sbin lib lib64; do
  if [ -L "/$d" ]; then
    ln -s "$(readlink "/$d")" "$root/$d"
  elif [ -d "/$d" ]; then
    mkdir -p "$root/$d"
    mount --bind "/$d" "$root/$d"
    mount -o remount,bind,ro,nosuid,nodev "$root/$d"
  fi
done
mount --bind "$userns" "$root/userns"
mount --bind /dev/null "$root/dev/null"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
if [ -n "$folder" ]; then
  mount --bind "$folder" "$root/out"
  mount -o "remount,bind,$access,nosuid,nodev,noexec" "$root/out"
fi
mount -o remount,ro,nosuid,nodev "$root"
cd "$root"
pivot_root . old
cd /
umount -l /old
umount /proc
ulimit -f "$blocks"
nsenter --user=/userns --setuid 0 --setgid 0 -- "$@" || exit $?
exit 0
`;

const NAMESPACES = ['--mount', '--pid', '--net', '--ipc', '--uts', '--fork', '--kill-child'];

/**
 * Starts a program in confinement, as the root of its user namespace. Its stdin, stdout and stderr are pipes.
 * @throws FairleadError `host_failed` when the host does not allow user namespaces or lacks util-linux
 */
export async function spawnConfined(spawn: Spawn, argv: Argv, confinement: Confinement): Promise<PipedChild> {
  const { idmap, scratch, folder, maxFileBytes } = confinement;
  const holder = await holdUserNamespace(spawn, idmap);
  const settings = [
    `/proc/${holder.pid}/ns/user`,
    scratch,
    folder?.path ?? '',
    folder?.access ?? 'ro',
    blocks(maxFileBytes),
  ];
  try {
    const child = await spawn([
      'unshare',
      ...NAMESPACES,
      '--',
      '/bin/sh',
      '-c',
      ENTER,
      'confine',
      ...settings,
      ...argv,
    ]);
    void child.exited.then(holder.kill);
    return child;
  } catch (error) {
    holder.kill();
    throw error;
  }
}

/** `ulimit -f` counts in blocks of 512 bytes. */
function blocks(bytes: number): string {
  return String(Math.ceil(bytes / 512));
}

/**
 * A process that keeps a new user namespace alive. We write its maps ourselves, which works with every util-linux and needs
 * neither newuidmap nor entries in /etc/subuid.
 */
async function holdUserNamespace(spawn: Spawn, { base, size }: IdMap): Promise<PipedChild> {
  const holder = await spawn(['unshare', '--user', '--', 'cat']);
  try {
    await answers(holder);
    const map = `0 ${base} ${size}\n`;
    await writeFile(`/proc/${holder.pid}/uid_map`, map);
    await writeFile(`/proc/${holder.pid}/gid_map`, map);
    return holder;
  } catch (cause) {
    holder.kill();
    if (cause instanceof FairleadError) throw cause;
    throw new FairleadError(
      'host_failed',
      `The host did not map the ids ${base} to ${base + size - 1} for a container: ${String(cause)}. Run the connector as root.`,
      { cause },
    );
  }
}

/** `cat` gives back what it got only once it runs inside of the new namespace. */
async function answers(holder: PipedChild): Promise<void> {
  const echo = new Promise<'ready'>((resolve) => holder.stdout.once('data', () => resolve('ready')));
  holder.stdin.write('\n');
  const late = AbortSignal.timeout(USER_NAMESPACE_MS);
  const tooLate = new Promise<'late'>((resolve) => late.addEventListener('abort', () => resolve('late')));
  const first = await Promise.race([echo, tooLate, holder.exited]);
  if (first === 'ready') return;
  const why = first === 'late' ? 'it took too long' : reasonOf({ ...first, stderr: holder.stderr() });
  throw new FairleadError(
    'host_failed',
    `The host gives no user namespace to unpack images in: ${why}. Allow user namespaces in its kernel, then try again.`,
  );
}
