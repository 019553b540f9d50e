#!/bin/sh
# Installs, uses and purges the package in a bare Debian of its own: deb-check.sh LF.DEB
# It wants root, for chroot, and a Debian mirror (MIRROR=), for debootstrap. OUT/debian keeps the bare system.
set -eu
deb=$(realpath "$1")
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || {
    echo "make deb-check wants root, for chroot" >&2
    exit 1
}
sh tests/tools.sh debootstrap:debootstrap lintian:lintian systemd-analyze:systemd
lintian --fail-on error --tag-display-limit 0 "$deb"

out=$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)
mirror=${MIRROR:-$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)}
if [ ! -e "$out/debian/done" ]; then
    rm -rf "$out/debian"
    debootstrap --variant=minbase bookworm "$out/debian/root" "$mirror" >"$out/debootstrap.log" || {
        tail "$out/debootstrap.log" >&2
        exit 1
    }
    touch "$out/debian/done"
fi
root=$out/debian/try
rm -rf "$root" && cp -a "$out/debian/root" "$root"
trap 'rm -rf "$root"' EXIT
cp "$deb" "$root/lf.deb"
cp tests/release/deb-used.sh "$root/used.sh"
find "$root" -xdev -not -path "$root/var/*" | sort >"$out/debian/before"

chroot "$root" dpkg -i /lf.deb
chroot "$root" sh /used.sh
# Debian's lf, the file manager, has the same file, so that dpkg has to refuse one of them.
mkdir -p "$root/other/DEBIAN"
printf 'Package: lf\nVersion: 27\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: other\n' >"$root/other/DEBIAN/control"
dpkg-deb --build "$root/other" "$root/other.deb" >/dev/null
if chroot "$root" dpkg -i /other.deb >"$out/debian/said" 2>&1 || ! grep -q conflicts "$out/debian/said"; then
    echo "Debian's lf is installed beside it" >&2
    exit 1
fi
chroot "$root" dpkg --purge lenserfight-lf
rm -r "$root/other" "$root/other.deb"
find "$root" -xdev -not -path "$root/var/*" | sort | diff "$out/debian/before" - || {
    echo "that is what purge left" >&2
    exit 1
}
echo "installed, used and purged: $(basename "$deb")"
