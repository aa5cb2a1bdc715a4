#!/bin/bash
# build-debian.sh OUT.tar.gz BASE [MIRROR]: an LXD image of Debian trixie with systemd as its init and DHCP on eth0.
set -euo pipefail
OUT=$1 MIRROR=${3:-} CREATED=1767225600 ARCH=$(uname -m)
[ -e "$OUT" ] && exit 0   # another process built it while this one waited for the lock
T=$(mktemp -d "$OUT.XXXXXX"); trap 'rm -rf --one-file-system "$T"' EXIT
chmod 755 "$T"; mkdir "$T/templates"
export SOURCE_DATE_EPOCH=$CREATED R=$T/rootfs

mmdebstrap --quiet --mode=root --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,procps,netcat-openbsd \
  trixie "$R" ${MIRROR:+"deb $MIRROR trixie main"} </dev/null >"$OUT.log" 2>&1
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n' > "$R/etc/systemd/network/10-eth0.network"
# What a container has no business with, or must not touch: devices, kernel modules, clocks, the outside's timers.
units="systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-modules-load systemd-networkd-wait-online console-getty"
units+=" systemd-udevd-kernel.socket systemd-udevd-control.socket modprobe@ dev-hugepages.mount dev-mqueue.mount"
units+=" sys-kernel-config.mount sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount"
units+=" apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer"
for unit in $units; do
  case $unit in *.*) ;; *) unit=$unit.service ;; esac
  ln -sf /dev/null "$R/etc/systemd/system/$unit"
done
{ chroot "$R" systemctl enable systemd-networkd; chroot "$R" systemctl set-default multi-user.target; } >>"$OUT.log" 2>&1
rm -rf "$R"/var/lib/apt/lists/* "$R"/var/cache/apt/* "$R"/var/log/* "$R"/etc/{resolv.conf,hostname}   # the last two are copies of the builder's
: > "$R/etc/machine-id"

printf '{{ container.name }}\n' > "$T/templates/hostname.tpl"
cat > "$T/metadata.yaml" <<YAML
architecture: $ARCH
creation_date: $CREATED
properties:
  architecture: $ARCH
  description: Debian trixie for tests ($ARCH)
  os: Debian
  release: trixie
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
YAML
tar -C "$T" --sort=name --clamp-mtime --mtime="@$CREATED" --numeric-owner --format=gnu --exclude='rootfs/dev/*' \
  -cf - metadata.yaml rootfs templates | gzip -3n > "$T/out"
mv "$T/out" "$OUT"
