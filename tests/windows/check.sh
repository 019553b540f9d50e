#!/bin/sh
# Runs tests against lf.exe under wine: check.sh [SUITE...]
# What differs.txt names is not run, and is listed at the end with the reason.
set -eu
cargo=${CARGO:-cargo} table=tests/windows/differs.txt
[ $# -gt 0 ] || set -- windows envelope keys concurrency gateway_api gateway_access gateway_load status rekey passphrase \
    pairing audit doctor recovery import
mkdir -p "${CARGO_TARGET_DIR:-target}"
out=$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)
wine=/usr/lib/wine
LF_WINE=$out/wine
LF_BINARY="$wine/wine64 $out/x86_64-pc-windows-gnu/release/lf.exe"
export LF_WINE LF_BINARY
unset DISPLAY WAYLAND_DISPLAY

if [ ! -e "$LF_WINE/.complete" ]; then
    rm -rf "$LF_WINE"
    export WINEPREFIX="$LF_WINE" WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml,winemenubuilder.exe="
    "$wine/wine64" wineboot --init >"$out/wine.log" 2>&1
    "$wine/wineserver64" -w
    touch "$LF_WINE/.complete"
    unset WINEPREFIX WINEDEBUG WINEDLLOVERRIDES
fi

failed=
for suite in "$@"; do
    names=$("$cargo" test --quiet --locked --test "$suite" -- --list 2>/dev/null | sed -n 's/: test$//p')
    marked=$(sed -n "s/^$suite \([a-z0-9_]*\) :: .*/\1/p" $table)
    skip=
    for name in $marked; do
        echo "$names" | grep -qx "$name" || { echo "$table: $suite has no test $name" >&2; exit 1; }
        skip="$skip --skip $name"
    done
    # shellcheck disable=SC2086 # words
    "$cargo" test --locked --test "$suite" -- --exact $skip || failed="$failed $suite"
done
for suite in "$@"; do
    sed -n "s/^$suite \([a-z0-9_]*\) :: /not run: $suite, \1: /p" $table
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
