#!/bin/bash
# host-start.sh FOLDER NAME NETNS CGROUP BASE CONTROL CGROUP-DIR... -- BIND...
# Starts one virtual host: moves into its cgroups and network, then becomes its pid 1 (host-init.sh) in fresh namespaces.
set -euo pipefail
FOLDER=$1 NAME=$2 NETNS=$3 CGROUP=$4 BASE=$5 CONTROL=$6; shift 6
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done
shift
exec nsenter --net="/run/netns/$NETNS" \
  unshare --mount --pid --uts --ipc --cgroup --fork --kill-child=SIGKILL \
  bash "$(dirname "$(readlink -f "$0")")/host-init.sh" "$FOLDER" "$NAME" "$CGROUP" "$BASE" "$CONTROL" "$@"
