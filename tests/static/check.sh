#!/bin/sh
# Tries the static lf: in a root with nothing else in it, and under the tests of what a person does: check.sh TARGET
# For another processor, under Debian's qemu.
set -eu
target=$1
cargo=${CARGO:-cargo}
out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
machine=${target%%-*}
case $machine in
"$(uname -m)") emulator= ;;
armv7) emulator=qemu-arm-static ;;
*) emulator=qemu-$machine-static ;;
esac
tests="--test bare --test keys --test keychain --test recovery --test gateway_api --test terminal"
if [ -n "$emulator" ]; then
    sh tests/tools.sh "$emulator:qemu-user-static"
    emulator=$(command -v "$emulator")
fi
# shellcheck disable=SC2086 # several words, one or none
LF_BINARY="${emulator:+$emulator }$out/$target/release/lf" "$cargo" test --locked $tests
