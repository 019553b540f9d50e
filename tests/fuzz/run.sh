#!/bin/sh
# Fuzzes one target, or each in turn, and keeps in its corpus what reaches something new:
# run.sh [TARGET [SECONDS [ARGUMENTS]]], with the arguments for libFuzzer.
# A case that breaks a rule is an error, and stays in target/fuzz.
# SANITIZER=none makes ten times as many runs in the same time: without AddressSanitizer, and without a look at what is
# compared with what.
set -eu
cd "$(dirname "$0")/../.."
sh tests/tools.sh g++:g++
targets=${1:-$(ls tests/fuzz/corpus)}
seconds=${2:-60}
[ $# -le 2 ] && shift $# || shift 2

# LLVM counts how often each edge is taken; beside AddressSanitizer it also tells libFuzzer what is compared with what.
# RUSTC_BOOTSTRAP lets a stable compiler do so; its libraries have the sanitizer where they are rustup's.
host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module"
counted="level=4 inline-8bit-counters pc-table"
if [ "${SANITIZER:-}" != none ]; then
    counted="$counted trace-compares"
    if ls "$(rustc --print target-libdir)"/librustc*rt.asan.a >/dev/null 2>&1; then
        flags="$flags -Zsanitizer=address"
    else
        echo "this Rust has no AddressSanitizer (rustup's has): fuzzing without it" >&2
    fi
fi
for part in $counted; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$part"
done
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags ${CARGO:-cargo} build --release --locked \
    --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz --target "$host"
bin=target/fuzz/$host/release

for target in $targets; do
    here=target/fuzz/cases/$target
    rm -rf "$here"
    mkdir -p "$here/all" "$here/least"
    "$bin/pack" --out "tests/fuzz/corpus/$target" "$here/all"
    echo "$target: $(ls "$here/all" | wc -l) cases"
    status=0
    "$bin/$target" -max_total_time="$seconds" -timeout=25 -artifact_prefix="target/fuzz/$target-" "$@" "$here/all" \
        2>"$here/log" || status=$?
    grep -a -e INITED -e DONE -e ^Done -e panicked -e ERROR -e ' left: ' -e 'right: ' "$here/log" || true
    if [ $status != 0 ]; then
        echo "$target: a case breaks a rule, or takes too long: target/fuzz/$target-*; $here/log says more" >&2
        exit 1
    fi
    "$bin/$target" -merge=1 "$here/least" "$here/all" 2>"$here/merge"
    "$bin/pack" "tests/fuzz/corpus/$target" "$here/least"
done
