#!/bin/sh
# Builds lf.exe and, for wine, what stands beside it there: build.sh
set -eu
cargo=${CARGO:-cargo} target=x86_64-pc-windows-gnu
sh tests/tools.sh x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64-win32

# A library built from source is Debian's, and wants Debian's compiler.
RUSTC=${RUSTC:-rustc} from_source=
if ! ls "$("$RUSTC" --print target-libdir --target $target)"/libstd-*.rlib >/dev/null 2>&1; then
    RUSTC=/usr/bin/rustc
    if ! [ -e "$("$RUSTC" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then
        echo "no standard library for $target; install it with: rustup target add $target" >&2
        echo "or its source, on Debian: apt-get install --no-install-recommends rustc-web rust-web-src" >&2
        exit 1
    fi
    from_source=-Zbuild-std=std,panic_unwind
    export RUSTC_BOOTSTRAP=1 # -Zbuild-std is not stable
fi
export RUSTC
# shellcheck disable=SC2086 # a word or none
"$cargo" build --release --locked --bin lf --target $target $from_source

out=${CARGO_TARGET_DIR:-target}/$target/release
for program in bcryptprimitives.dll:-shared credential.exe: ; do
    name=${program%%:*} option=${program#*:}
    # shellcheck disable=SC2086
    x86_64-w64-mingw32-gcc -municode -O2 -s $option -o "$out/$name" "tests/windows/${name%.*}.c" -ladvapi32
done
ls -l "$out/lf.exe"
