#!/bin/sh
# Makes the files of a release in OUT/dist, the same bytes from the same source in any directory:
# dist.sh TARGET... The first target's lf has to run here; it prints the texts for all of them.
set -eu
cd "$(dirname "$0")/../.."
release=tests/release
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ ! -e .git ] || sh tests/tools.sh git:git
SOURCE_DATE_EPOCH=$(sh $release/source.sh time)
[ -n "$SOURCE_DATE_EPOCH" ] || {
    echo "this is no checkout, and no archive that git made: it does not say of which commit it is" >&2
    exit 1
}
export SOURCE_DATE_EPOCH LC_ALL=C
umask 022
sh tests/tools.sh python3:python3
out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
dist=$out/dist
rm -rf "$dist" && mkdir "$dist"
runs='' left=''

for target; do
    status=0
    sh tests/static/build.sh "$target" || status=$?
    case $status in
    0) ;;
    3) left="$left $target" && continue ;;
    *) exit $status ;;
    esac
    lf=$out/$target/release/lf
    runs=${runs:-$lf}
    name=lf-$version-$target
    tree=$dist/$name
    sh $release/install.sh "$lf" "$tree" lf "$runs"
    # As lf gateway install --keys-only would write them, for any user and with both loopback addresses.
    units=$tree/lib/systemd/user
    mkdir -p "$units" "$tree/share/doc/lf"
    for unit in service socket; do
        [ $unit = service ] && flag='' || flag=--socket
        env -i HOME=/HOME "$runs" gateway install --keys-only $flag --print |
            awk '/^# made by/ { count++; next } count == 1' |
            sed -e 's#^ExecStart="[^"]*"#ExecStart=/usr/local/bin/lf#; s#/HOME/#%h/#g; /^ListenStream=\[::1\]/d' \
                -e 's#^ListenStream=127.*#&\nListenStream=[::1]:38080#' >"$units/lf-gateway.$unit"
    done
    cp LICENSE CHANGELOG.md README.md SECURITY.md "$tree/share/doc/lf"
    python3 $release/tenants.py "$target" "$tree/share/doc/lf/THIRD-PARTY" "$dist/$name.cdx.json"
    tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
        --mtime="@$SOURCE_DATE_EPOCH" -C "$dist" -cf - "$name" | gzip -9n >"$dist/$name.tar.gz"
done

[ -n "$runs" ] || exit 3
(cd "$dist" && sha256sum ./*.tar.gz ./*.cdx.json | sed 's#\./##' >SHA256SUMS)
[ -z "$left" ] || echo "left out, because what builds them is not here (see above):$left" >&2
cat "$dist/SHA256SUMS"
echo "in $dist"
