#!/bin/bash
# host-init.sh FOLDER NAME CGROUP BASE CONTROL BIND...   pid 1 of a virtual host; writes its pid to fd 3 when it is up.
set -e
FOLDER=$1 NAME=$2 CGROUP=$3 BASE=$4 CONTROL=$5; shift 5
# /proc is still the machine's here, so this is our pid as the machine sees it
read -r OUTER _ < /proc/self/stat
R=$FOLDER/root
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$FOLDER/up,workdir=$FOLDER/work" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys"
# The real devtmpfs, because CRIU must find the device nodes LXC binds into unprivileged containers under one devtmpfs
# mount; but an own devpts and shm.
mount -t devtmpfs dev "$R/dev"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$R/dev/pts"
mount -t tmpfs shm "$R/dev/shm"
mount -t tmpfs -o mode=755 run "$R/run"
mount -t tmpfs tmp "$R/tmp"
mkdir -p "$R/run/lxc" "$R/run/lock"

if [ "$CGROUP" = unified ]; then
  mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
  # Processes live in a leaf, so that controllers can be handed down to the containers.
  u=$R/sys/fs/cgroup; mkdir -p "$u/init"
  for p in $(cat "$u/cgroup.procs"); do echo "$p" > "$u/init/cgroup.procs" 2>/dev/null || :; done
  for c in $(cat "$u/cgroup.controllers"); do echo "+$c" > "$u/cgroup.subtree_control" || :; done
else
  mount -t tmpfs -o mode=755 cgroup "$R/sys/fs/cgroup"
  for c in cpuset cpu cpuacct blkio memory devices freezer pids; do
    mkdir "$R/sys/fs/cgroup/$c"; mount -t cgroup -o "$c" cgroup "$R/sys/fs/cgroup/$c"
  done
  mkdir "$R/sys/fs/cgroup/systemd" "$R/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd cgroup "$R/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup/unified"
fi

# State on a real filesystem: an overlay cannot be the upper layer of an overlay.
mount --bind "$FOLDER/lxc" "$R/var/lib/lxc"
if [ -e "$FOLDER/disk.img" ]; then mount -o loop "$FOLDER/disk.img" "$R/var/lib/fairlead"
else mount --bind "$FOLDER/fairlead" "$R/var/lib/fairlead"; fi
for bind in "$@"; do
  source=${bind%%:*} target=$R${bind#*:}
  if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; [ -e "$target" ] || : > "$target"; fi
  mount --bind "$source" "$target"
done

cd "$R"; pivot_root . oldroot; cd /; umount -l /oldroot
hostname "$NAME"; echo "$NAME" > /etc/hostname; : > /etc/resolv.conf   # there is no name server on the wan
printf '127.0.0.1 localhost %s\n%s fairlead.lab\n' "$NAME" "$CONTROL" > /etc/hosts
echo 1 > /proc/sys/net/ipv4/ip_forward
echo "$OUTER" >&3; exec 3>&-

# Only wait: bash reaps every orphan by itself.
while :; do sleep infinity & while kill -0 $! 2>/dev/null; do wait $! || :; done; done
