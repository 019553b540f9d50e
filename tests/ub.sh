#!/bin/sh
# Looks for undefined behaviour, and says with what. With a nightly toolchain: Miri over the unit tests that need no
# system call it does not know, AddressSanitizer over all unit tests, and over lf while tests drive it. In any case
# valgrind's memcheck over lf, which also sees memory that is read before it is written.
set -eu
CARGO=${CARGO:-cargo}
MIRI="memory:: seccomp:: landlock:: base::secret base::shell gateway::http::re gateway::origin::"
DRIVEN="--test keys --test passphrase --test gateway_access"
used=

if rustc +nightly --version >/dev/null 2>&1; then
    host=$(rustc +nightly -vV | sed -n 's/^host: //p')
    rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1 || true
    # rustix calls the system through libc there, because Miri reads no assembler.
    RUSTFLAGS="--cfg rustix_use_libc" MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/ub/miri \
        "$CARGO" +nightly miri test --locked --lib -- $MIRI
    used="$used Miri"

    # One test asks for more memory than there is, and wants to be told so.
    export RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=target/ub/asan ASAN_OPTIONS=allocator_may_return_null=1
    "$CARGO" +nightly test --locked --lib --target "$host"
    "$CARGO" +nightly build --locked --target "$host"
    unset RUSTFLAGS CARGO_TARGET_DIR
    # lf lets nobody look into it, and a search for leaks would be somebody.
    LF_BINARY="/usr/bin/env ASAN_OPTIONS=detect_leaks=0 $PWD/target/ub/asan/$host/debug/lf" \
        "$CARGO" test --locked $DRIVEN
    used="$used AddressSanitizer"
else
    echo "no nightly toolchain: no Miri and no AddressSanitizer; rustup toolchain install nightly" >&2
fi

"$CARGO" build --locked
# A command takes a second there, and a derivation three: of the vectors an eighth, and no process for each line.
SHARE=8 LF_BINARY="valgrind --quiet --error-exitcode=99 $PWD/target/debug/lf" \
    "$CARGO" test --locked --test envelope --test dotenv -- --skip where_they_differ
echo "undefined behaviour: none found by$used valgrind"
