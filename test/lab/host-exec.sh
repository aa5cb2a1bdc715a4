#!/bin/bash
# host-exec.sh PID CGROUP-DIR... -- COMMAND...   runs a command inside the virtual host whose pid 1 is PID.
# The process that calls this stands for the command: signals are handed on, and killing it kills the command.
set -euo pipefail
PID=$1; shift
# Into the host's cgroups before its namespaces, else liblxc sees a path outside of its cgroup namespace.
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done
shift
# shellcheck disable=SC2016  # expanded by the inner shell
INSIDE='
env --default-signal=INT,QUIT setpriv --pdeathsig KILL -- "$@" <&0 & child=$!
for s in TERM INT HUP USR1 USR2; do trap "again=1; kill -$s $child" $s; done
while again=; wait $child; code=$?; [ "$again" ]; do :; done
exit $code'
# --no-fork: this shell stays in the machine's pid namespace (so it can be signalled), its child is born in the host's.
exec nsenter --target "$PID" --mount --uts --ipc --net --pid --cgroup --no-fork -- bash -c "$INSIDE" host-exec "$@"
