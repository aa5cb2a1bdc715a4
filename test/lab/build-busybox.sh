#!/bin/bash
# build-busybox.sh OUT.tar.gz BASE: a 2 MB LXD image with an init of its own, DHCP on eth0 and a shell on the console.
# Deterministic, so that its fingerprint is stable for one version of this recipe and of busybox.
set -euo pipefail
OUT=$1 BASE=$2 CREATED=1767225600 ARCH=$(uname -m)
[ -e "$OUT" ] && exit 0   # another process built it while this one waited for the lock
umask 022
T=$(mktemp -d "$OUT.XXXXXX"); trap 'rm -rf "$T"' EXIT
R=$T/rootfs
mkdir -p "$R"/{bin,dev,etc,mnt,proc,root,run,sbin,sys,usr/bin,usr/sbin,usr/share/udhcpc,var/log} "$T/templates"
mkdir -m 1777 "$R/tmp"; chmod 700 "$R/root"

cp "$BASE/usr/bin/busybox" "$R/bin/busybox"
for applet in $("$R/bin/busybox" --list); do
  case $applet in busybox|init|dpkg*|rpm*) ;; *) ln -s /bin/busybox "$R/bin/$applet";; esac
done
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$R/etc/passwd"
printf 'root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n' > "$R/etc/group"
printf '127.0.0.1 localhost\n' > "$R/etc/hosts"
printf 'NAME=BusyBox\nID=busybox\nVERSION_ID=1\n' > "$R/etc/os-release"

cat > "$R/sbin/init" <<'INIT'
#!/bin/sh
# pid 1: DHCP and a console shell, kept alive; halts on SIGPWR (LXC's halt signal) and on poweroff, restarts on SIGINT and on
# reboot. busybox's own init ignores SIGPWR. Set environment.TICK to a pause in seconds and /run/ticks counts: a witness of
# memory that survived, at no fork a tick.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
end() {
  trap '' PWR USR1 USR2 INT TERM
  echo "$(hostname): going down ($1)" > /dev/console
  kill -TERM -1
  for round in 1 2 3 4 5; do
    sleep 0.1
    [ "$(ls -d /proc/[0-9]* | wc -l)" -gt 4 ] || break   # pid 1, this subshell, ls and wc
  done
  kill -KILL -1
  $1 -f
  exit 0
}
trap 'end poweroff' PWR USR1 USR2
trap 'end reboot' INT TERM

lease() {
  while :; do
    udhcpc -f -i eth0 -s /usr/share/udhcpc/default.script -x "hostname:$(hostname)" -t 20 -T 1 -A 2 >/dev/null 2>&1
    sleep 2
  done
}
console() {
  while read -r _; do setsid cttyhack /bin/sh -l; done
}
ticker() {
  mkfifo /run/tick
  exec 3<>/run/tick
  n=0
  while :; do read -r -t "$TICK" _ <&3; n=$((n + 1)); echo $n > /run/ticks; done
}

mountpoint -q /run || mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
[ -e /sys/class/net/eth0 ] && lease </dev/null &
[ -n "$TICK" ] && ticker </dev/null >/dev/null 2>&1 &
[ -t 0 ] || exec 0</dev/null
[ -c /dev/console ] && exec >/dev/console 2>&1
echo "$(hostname): busybox is up. Press Enter for a shell."
[ -c /dev/console ] && console </dev/console &
# Reaps every orphan, and runs the traps.
while :; do wait; sleep 3600 & wait $!; done
INIT
cat > "$R/usr/share/udhcpc/default.script" <<'DHCP'
#!/bin/sh
case $1 in
deconfig) ip addr flush dev "$interface"; ip link set "$interface" up ;;
renew | bound)
  ip addr flush dev "$interface"
  ip addr add "$ip/${mask:-24}" dev "$interface"
  [ -n "$router" ] && ip route add default via "$router"
  : > /etc/resolv.conf
  for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done ;;
esac
DHCP
chmod 755 "$R/sbin/init" "$R/usr/share/udhcpc/default.script"

printf '{{ container.name }}\n' > "$T/templates/hostname.tpl"
cat > "$T/metadata.yaml" <<YAML
architecture: $ARCH
creation_date: $CREATED
properties:
  architecture: $ARCH
  description: BusyBox for tests ($ARCH)
  os: BusyBox
  release: "1"
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
YAML
tar -C "$T" --sort=name --mtime="@$CREATED" --owner=0 --group=0 --numeric-owner --format=gnu \
  -cf - metadata.yaml rootfs templates | gzip -9n > "$T/out"
mv "$T/out" "$OUT"
