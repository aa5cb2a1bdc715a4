/**
 * What CRIU runs between its steps (lxc-checkpoint -A). Everything that varies comes by environment:
 *   FL_DIR      the checkpoint's folder: markers and log
 *   FL_FREEZER  the control group to freeze (dump only)
 *   FL_GROUPS   mount points of the hierarchies whose empty groups CRIU forgets (cgroup2, name=systemd)
 *   FL_VETHS    "inside,outside,bridge,hwaddr,mtu ..."
 *
 * The container's network is ours, not CRIU's (`empty-ns net`): it cannot restore a veth into a user namespace. While a link is silenced it
 * keeps its carrier: losing it would put a message into every netlink socket of the frozen guest, which CRIU cannot dump.
 *
 * After a dump the group is frozen first of all: CRIU has thawed it by then, and if CRIU dies here the guest must not go on. Then both ends
 * wait for the verdict: `go` ends the source and runs the target, `back` the reverse. The script of a CRIU that died goes too.
 */
export const ACTION_SCRIPT = `#!/bin/sh
# criu starts scripts without a stdin; nsenter would then open the namespace as fd 0 and enter nothing.
exec </dev/null >/dev/null 2>>"$FL_DIR/action.log"
set -u
images=$CRTOOLS_IMAGE_DIR
pid=\${CRTOOLS_INIT_PID:-0}
echo "$(date +%T.%N) $CRTOOLS_SCRIPT_ACTION $pid" >&2

inside() { nsenter --target "$pid" --net -- "$@"; }

# each COMMAND: with in, out, bridge, mac, mtu of every interface
each() {
  for veth in $FL_VETHS; do
    in=\${veth%%,*} rest=\${veth#*,}; out=\${rest%%,*} rest=\${rest#*,}
    bridge=\${rest%%,*} rest=\${rest#*,}; mac=\${rest%%,*} mtu=\${rest#*,}
    "$@" || exit 1
  done
}
silence() { ip link set "$out" nomaster; }
make() {
  ip link add "$out" type veth peer name "$in" address "$mac" netns "$pid" || return 1
  if [ -n "$mtu" ]; then inside ip link set "$in" mtu "$mtu"; ip link set "$out" mtu "$mtu"; fi
  inside ip link set "$in" up
}
join() {
  [ -e "/sys/class/net/$out/master" ] || ip link set "$out" master "$bridge"
  ip link set "$out" up
}
# the same address again, so that the neighbours hear where it is now
announce() {
  inside sh -c 'echo 1 > "/proc/sys/net/ipv4/conf/$1/arp_notify"; ip link set "$1" address "$2"' sh "$in" "$mac" || :
}

# the container's own folder in every hierarchy of FL_GROUPS
groups() {
  for mount in $FL_GROUPS; do
    case $mount in */systemd) name=name=systemd ;; *) name= ;; esac
    path=$(awk -F: -v name="$name" '$2 == name { print $3; exit }' "/proc/$pid/cgroup")
    case $path in */lxc.payload.*) ;; *) continue ;; esac
    tail=\${path#*/lxc.payload.}
    echo "$mount\${path%%/lxc.payload.*}/lxc.payload.\${tail%%/*}"
  done
}
own() {
  root=$(awk '$1 == 0 { print $2; exit }' "/proc/$pid/uid_map")
  groups | while read -r group; do
    chmod 775 "$group"
    cd "$group" || exit 1
    while read -r name; do mkdir -p "$name"; done < "$images/fl-groups"
    find . -type d | while read -r name; do
      for file in "$name" "$name/cgroup.procs" "$name/cgroup.threads" "$name/cgroup.subtree_control" "$name/tasks"; do
        [ ! -e "$file" ] || chown "\${root:-0}:\${root:-0}" "$file"
      done
    done
  done
}

freeze() {
  if [ -e "$FL_FREEZER/freezer.state" ]; then echo FROZEN > "$FL_FREEZER/freezer.state"
  else echo 1 > "$FL_FREEZER/cgroup.freeze"; fi
}
park() {
  criu=$PPID
  echo "$criu $pid $(date +%s%3N)" > "$FL_DIR/parked.new"
  mv "$FL_DIR/parked.new" "$FL_DIR/parked"
  until [ -e "$FL_DIR/verdict" ]; do
    kill -0 "$criu" || exit 1
    sleep 0.02
  done
  verdict=$(cat "$FL_DIR/verdict")
  echo "verdict $verdict" >&2
  mv "$FL_DIR/parked" "$FL_DIR/answered"
  [ "$verdict" = go ]; exit
}

case $CRTOOLS_SCRIPT_ACTION in
network-lock)
  each silence
  for f in 4 6; do
    inside ip -$f addr save > "$images/fl-addr$f"
    inside ip -$f route save > "$images/fl-route$f"
  done
  groups | while read -r group; do (cd "$group" && find . -mindepth 1 -type d); done | sort -u > "$images/fl-groups" ;;
post-dump)
  freeze || exit 1
  park ;;
post-setup-namespaces)
  inside ip link set lo up
  each make
  for f in 4 6; do
    [ ! -s "$images/fl-addr$f" ] || inside ip addr restore < "$images/fl-addr$f"
    [ ! -s "$images/fl-route$f" ] || inside ip -$f route restore < "$images/fl-route$f"
  done
  own ;;
post-restore)
  park ;;
network-unlock)
  each join ;;
post-resume)
  each announce ;;
esac
exit 0
`;

/**
 * Options of CRIU that lxc-checkpoint has no words for. The network is locked by the hook, which takes the links off their bridges: the rules
 * CRIU would put into the guest's network outlive a CRIU that is killed.
 */
export const CRIU_CONFIG = 'empty-ns net\nskip-file-rwx-check\nnetwork-lock skip\n';

/** Runs a program apart from us, in a folder given first, and leaves its exit code there: whoever restarts finds it. */
export const KEEPER = `dir=$1; shift
"$@" </dev/null >"$dir/tool.log" 2>&1
echo $? >"$dir/exit.new"
mv "$dir/exit.new" "$dir/exit"`;
