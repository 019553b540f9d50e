#!/bin/sh
# Makes Debian packages of the archives in OUT/dist, the same bytes of the same archives: deb.sh MAINTAINER TARGET...
set -eu
cd "$(dirname "$0")/../.."
maintainer=$1
shift
sh tests/tools.sh dpkg-deb:dpkg python3:python3
SOURCE_DATE_EPOCH=$(sh tests/release/source.sh time)
export SOURCE_DATE_EPOCH LC_ALL=C
umask 022
dist=$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)/dist
package=lenserfight-lf

for target; do
    case $target in
    x86_64-*) machine=amd64 ;;
    aarch64-*) machine=arm64 ;;
    armv7-*) machine=armhf ;;
    esac
    from=$(cd "$dist" && ls -d lf-*-"$target" 2>/dev/null) || continue # make dist has said why
    number=${from#lf-} number=${number%%-*}
    version=$number-1
    room=$dist/deb && rm -rf "$room"
    doc=$room/usr/share/doc/$package
    mkdir -p "$room/DEBIAN" "$room/usr" "$doc" "$room/usr/share/lintian/overrides"
    cp -r "$dist/$from/bin" "$dist/$from/lib" "$dist/$from/share" "$room/usr"
    mv "$room/usr/share/doc/lf/"* "$doc" && rmdir "$room/usr/share/doc/lf"
    # Where Debian wants it.
    sed -i 's#=/usr/local/bin/lf#=/usr/bin/lf#' "$room/usr/lib/systemd/user/"*
    mv "$room/usr/share/zsh/site-functions" "$room/usr/share/zsh/vendor-completions"
    mv "$doc/CHANGELOG.md" "$doc/changelog"
    cat >"$doc/changelog.Debian" <<EOF
$package ($version) unstable; urgency=medium

  * Version $number; changelog.gz says what has changed.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
    gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$doc/THIRD-PARTY" "$room/usr/share/man/man1/lf.1"
    {
        echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
        echo 'Upstream-Name: lf'
        echo
        echo 'Files: *'
        sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
        echo 'License: Expat'
        sed -n '/^Permission/,$p' LICENSE | sed 's/^$/./; s/^/ /'
        echo 'Comment: THIRD-PARTY.gz has the licences of what is linked into the program.'
    } >"$doc/copyright"
    rm "$doc/LICENSE"
    cp tests/release/lintian "$room/usr/share/lintian/overrides/$package"
    cat >"$room/DEBIAN/control" <<EOF
Package: $package
Version: $version
Architecture: $machine
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size "$room/usr" | cut -f 1)
Conflicts: lf
Suggests: gnome-keyring | keepassxc, curl
Section: utils
Priority: optional
Description: encrypted store for API keys, on your own machine
 lf keeps the API keys of AI providers and other services encrypted, and gives
 them to programs that you name and to browsers that you have paired. The
 master passphrase is in the keychain of your session, or in a file.
 .
 The package lf is another program with the same name: a file manager.
EOF
    (cd "$room" && find usr -type f -printf '%P\0' | sort -z | sed -z 's#^#usr/#' | xargs -0 md5sum >DEBIAN/md5sums)
    chmod -R u=rwX,go=rX "$room"
    find "$room" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    deb=$dist/${package}_${version}_$machine.deb
    dpkg-deb --root-owner-group -Zxz --build "$room" "$deb" >/dev/null
    rm -r "$room"
    sha256sum "$deb"
done
