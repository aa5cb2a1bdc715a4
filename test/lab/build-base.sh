#!/bin/bash
# build-base.sh OUT [MIRROR]: the root filesystem of every virtual host, as the folder OUT. Debian trixie with LXC, and CRIU
# from sid: trixie's own CRIU cannot dump sockets on kernels from 6.16 on. Without a MIRROR, mmdebstrap takes its default.
# The cache key is the hash of this file, so whatever changes the tree belongs in here.
set -euo pipefail
OUT=$1 MIRROR=${2:-}
[ -e "$OUT" ] && exit 0   # another process built it while this one waited for the lock
TMP=$OUT.$$.part
trap 'rm -rf --one-file-system "$TMP"' EXIT

PACKAGES=lxc,lxcfs,uidmap,iproute2,iptables,nftables,dnsmasq-base,rsync,xz-utils,zstd,squashfs-tools,btrfs-progs,e2fsprogs
PACKAGES+=,busybox-static,procps,socat,curl,ca-certificates,libstdc++6,kmod,fuse3,openssl,python3-minimal
# An AWS for the tests of functions/aws: moto with what its server imports.
PACKAGES+=,python3-moto,python3-flask,python3-flask-cors,python3-docker,python3-xmltodict,python3-openapi-spec-validator
FROM_SID='criu/sid libnet9/sid libcompel1/sid libnl-3-200/sid libnftables1/sid'

# sid's Release file may be called expired on a mirror that lags.
mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" \
  --aptopt='Acquire::Check-Valid-Until "false"' \
  --setup-hook='mkdir -p "$1/etc/apt/preferences.d" "$1/etc/apt/sources.list.d"
    printf "Package: *\nPin: release n=sid\nPin-Priority: 50\n" > "$1/etc/apt/preferences.d/sid"
    sed "s/trixie/sid/g" "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/sid.list"' \
  --customize-hook='chroot "$1" apt-get install -q -y --no-install-recommends '"$FROM_SID" \
  --customize-hook='echo root:100000:1000000000 | tee "$1/etc/subuid" > "$1/etc/subgid"
    rm "$1/etc/apt/preferences.d/sid" "$1/etc/apt/sources.list.d/sid.list"
    mkdir -p "$1/oldroot" "$1/var/lib/lxc" "$1/var/lib/fairlead" "$1/lab"; : > "$1/usr/local/bin/node"' \
  trixie "$TMP" ${MIRROR:+"deb $MIRROR trixie main"} </dev/null >"$OUT.log" 2>&1
chmod 755 "$TMP"
mv -T "$TMP" "$OUT"
