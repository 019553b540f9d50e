#!/bin/sh
# Tries the static lf: in a root with nothing else in it, and under the tests of what a person does: check.sh TARGET
# One for another processor runs under Debian's qemu, and in that root only: the other tests have no time for that.
set -eu
target=$1
cargo=${CARGO:-cargo}
out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
LF_BINARY=$out/$target/release/lf
tests='bare keys keychain recovery gateway_api terminal memory'
machine=${target%%-*}
if [ "$machine" != "$(uname -m)" ]; then
    [ "$machine" != armv7 ] || machine=arm
    sh tests/tools.sh "qemu-$machine-static:qemu-user-static"
    LF_BINARY="$(command -v "qemu-$machine-static") $LF_BINARY"
    tests=bare
fi
export LF_BINARY
# shellcheck disable=SC2046,SC2086 # words
exec "$cargo" test --locked $(printf -- '--test %s ' $tests)
