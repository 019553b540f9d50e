#!/bin/sh
# Builds lf as one static file, the same bytes from any directory: build.sh TARGET
# The standard library is rustup's for the target, or else built from its source.
set -eu
target=$1
cargo=${CARGO:-cargo}
tools=$(cd "$(dirname "$0")" && pwd -P)
project=$(cd "$tools/../.." && pwd -P)
cd "$project"

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}
# What is missing here; make dist goes on to the next target.
missing() {
    printf '%s\n' "$@" >&2
    exit 3
}

case $target in
x86_64-unknown-linux-musl) ZIG_TARGET=x86_64-linux-musl ;;
aarch64-unknown-linux-musl) ZIG_TARGET=aarch64-linux-musl ;;
armv7-unknown-linux-musleabihf) ZIG_TARGET=arm-linux-musleabihf ;;
*) fail "TARGET is x86_64-unknown-linux-musl, aarch64-unknown-linux-musl or armv7-unknown-linux-musleabihf, not $target" ;;
esac

out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out/static/$target"
out=$(cd "$out" && pwd -P) # the linker is called from somewhere else
export CARGO_TARGET_DIR="$out" STATIC_ROOM="$out/static/$target"

has_std() { ls "$("$1" --print target-libdir --target "$target" 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; }
has_source() { root=$("$1" --print sysroot 2>/dev/null) && [ -e "$root/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }

RUSTC=${RUSTC:-rustc} from_source=
has_std "$RUSTC" || rustup target add "$target" 2>/dev/null || :
if ! has_std "$RUSTC"; then
    # Made to be small; scrypt is none of it. Without backtraces, which in a stripped file have no names:
    # a panic says where it was, and unwinds.
    from_source='-Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind,optimize_for_size'
    # Debian's source wants Debian's compiler: another version does not build it.
    if ! has_source "$RUSTC"; then
        RUSTC=/usr/bin/rustc
        sh tests/tools.sh /usr/lib/rustlib/src/rust/library/std/Cargo.toml:rustc-web,rust-web-src ||
            missing "or, with rustup: rustup target add $target"
    fi
    export RUSTC_BOOTSTRAP=1 # -Zbuild-std is not stable
fi
export RUSTC
sysroot=$("$RUSTC" --print sysroot)

# Who links. rustup brings all of a static program, and a linker for every processor: with that one the
# bytes do not depend on what is installed here. A toolchain without it has cc link, for this processor.
linker=
if [ -z "$from_source" ]; then
    host=$("$RUSTC" -vV | sed -n 's/^host: //p')
    [ ! -e "$sysroot/lib/rustlib/$host/bin/rust-lld" ] || linker=rust-lld
elif [ "$(uname -m)-$target" = x86_64-x86_64-unknown-linux-musl ]; then
    sh tests/tools.sh cc:gcc,libc6-dev ar:binutils musl-gcc:musl-tools
    linker=$tools/musl-gcc
    sh "$tools/unwinder.sh" "$STATIC_ROOM"
else
    # 0.17 brings a libc that is partly its own, malloc included.
    ZIG=${ZIG:-$(ls "$out"/zig/lib/python3*/site-packages/ziglang/zig 2>/dev/null)} || :
    [ "$("$ZIG" version 2>/dev/null)" = 0.15.2 ] ||
        missing "no zig 0.15.2, which links for $target; install it (on Debian, python3-venv first) with:" \
            "  python3 -m venv '$out/zig'" "  '$out/zig/bin/pip' install ziglang==0.15.2" "or say where it is: ZIG=/path/to/zig"
    export ZIG ZIG_TARGET ZIG_LOCAL_CACHE_DIR="$out/static/cache" ZIG_GLOBAL_CACHE_DIR="$out/static/cache"
    linker=$tools/zig-gcc
fi

# The crates have to be here before their places can be given names.
# shellcheck disable=SC2086 # words or none
"$cargo" fetch --locked --target "$target" $from_source ||
    fail "the crates of Cargo.lock are not here and cannot be fetched; README.md says how to bring them: cargo vendor"

# Places of panics get into the bytes. What differs between machines has a name here, and a crate the same one
# whether it was fetched or vendored. Of several that fit, rustc takes the last.
separator=$(printf '\037') # what Cargo wants between flags, so that there may be spaces in them
flags=--remap-path-prefix=$project=/lf
flag() { flags=$flags$separator$1; }
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/ "$project/vendor/"; do
    flag "--remap-path-prefix=${crates%/}=/crates"
done
flag "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust"
# As in .cargo/config.toml, whose flags these replace.
flag -Cllvm-args=-inline-threshold=20
flag -Cllvm-args=-inlinehint-threshold=20
# A library built here comes without libc and its startup files, which the linker's script adds.
[ -z "$from_source" ] || flag -Clink-self-contained=no
# 4 % off the file: one copy of functions that are the same, and relocations as a bit map.
[ "$linker" != rust-lld ] || for argument in --icf=all -z pack-relative-relocs; do flag "-Clink-arg=$argument"; done
export CARGO_ENCODED_RUSTFLAGS="$flags"
# What lf version says.
LF_COMMIT=$(sh tests/release/source.sh commit) LF_TARGET=$target
export LF_COMMIT LF_TARGET
if [ -n "$linker" ]; then
    export "CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER=$linker"
fi

# shellcheck disable=SC2086
"$cargo" build --release --locked --bin lf --target "$target" $from_source

lf=$out/$target/release/lf
sh tests/tools.sh readelf:binutils
if readelf -lW "$lf" | grep -q INTERP || readelf -dW "$lf" | grep -q NEEDED; then
    fail "$lf is not static"
fi
echo "$lf"
echo "$(wc -c <"$lf") bytes, sha256 $(sha256sum "$lf" | cut -d ' ' -f 1)"
"$RUSTC" --version
"$cargo" --version
