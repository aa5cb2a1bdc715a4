#!/bin/bash
# moto-start.sh BASE PORT   becomes moto's server on the loopback, over BASE read-only. Killing it leaves nothing behind: its mounts are its
# own, and so are its pids. It dies with whoever started it.
set -euo pipefail
# shellcheck disable=SC2016  # expanded by the inner shell
exec setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child=SIGKILL bash -euc '
mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
mount -t tmpfs tmp "$1/tmp"; mount --rbind /dev "$1/dev"
exec chroot "$1" env PYTHONDONTWRITEBYTECODE=1 moto_server -H 127.0.0.1 -p "$2"' moto "$1" "$2"
