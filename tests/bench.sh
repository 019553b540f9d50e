#!/usr/bin/env bash
# Figures, each with the command that gives it: bench.sh LF. Nothing here fails by being slow.
set -euo pipefail
lf=$(realpath "$1")
root=$(pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LENSERFIGHT_KEYS_PASSPHRASE="correct horse battery staple"
unset LENSERFIGHT_RUNTIME_DIR LENSERFIGHT_KEYS_PASSPHRASE_FILE CREDENTIALS_DIRECTORY DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR

row() { printf '%-44s %s\n' "$1" "$2"; }
mean_ms() { hyperfine -N --warmup 1 --runs "$1" --style none --export-json "$dir/out.json" "${@:2}" >/dev/null 2>&1
    sed -n 's/.*"median": \([0-9.]*\).*/\1/p' "$dir/out.json" | awk '{ printf "%.2f", $1 * 1000 }'; }

# fill DIRECTORY COUNT: one real envelope, under many ids.
fill() {
    export LENSERFIGHT_KEYS_DIR=$1
    local id; id=$(printf 'sk-%040d' 7 | "$lf" keys add --provider openai --label Bench 2>/dev/null)
    awk -v dir="$1" -v id="$id" -v count="$2" 'BEGIN {
        getline line < (dir "/" id ".json")
        for (n = 1; n < count; n++) {
            new = sprintf("bench%027d", n); copy = line; sub("\"id\":\"" id "\"", "\"id\":\"" new "\"", copy)
            file = dir "/" new ".json"; print copy > file; close(file)
        }
    }'
    chmod 600 "$1"/*.json
}

row "crates (cargo tree -e normal,build)" "$(cargo tree --locked -e normal,build --target x86_64-unknown-linux-musl --prefix none --format '{p}' | sed 's/ (.*//' | sort -u | tail -n +1 | grep -vc '^local_keys')"
row "release binary (stat -c %s)" "$(stat -c %s "$lf") bytes"
start=$(date +%s.%N)
(cd "$root" && cargo build --release --locked --quiet --target-dir "$dir/target")
row "clean release build ($(nproc) cores)" "$(date +%s.%N | awk -v start="$start" '{ printf "%.1f s", $1 - start }')"
rm -rf "$dir/target"

mkdir -m 700 "$dir/empty"; export LENSERFIGHT_KEYS_DIR=$dir/empty
row "lf keys list, no keys" "$(mean_ms 50 "$lf keys list") ms"
for count in 100 10000; do
    mkdir -m 700 "$dir/$count"; fill "$dir/$count" "$count"
    ms=$(mean_ms 10 "$lf keys list --json")
    row "lf keys list, $count keys" "$ms ms, $(awk -v ms="$ms" -v count="$count" 'BEGIN { printf "%.1f us a key", ms * 1000 / count }')"
done
row "peak memory of list, 100 keys (time -f %M)" "$(LENSERFIGHT_KEYS_DIR=$dir/100 command time -f %M "$lf" keys list 2>&1 >/dev/null) KiB"
export LENSERFIGHT_KEYS_DIR=$dir/100
row "lf keys export" "$(mean_ms 20 "$lf keys export --i-understand bench$(printf %027d 1)") ms"
row "peak memory of export (time -f %M)" "$(command time -f %M "$lf" keys export --i-understand "bench$(printf %027d 1)" 2>&1 >/dev/null | tail -1) KiB"
mkdir -m 700 "$dir/200"; fill "$dir/200" 200
all=$(mean_ms 1 "$lf keys doctor") one=$(mean_ms 1 "taskset -c 0 $lf keys doctor")
row "lf keys doctor, 200 keys, $(nproc) cores" "$all ms"
row "lf keys doctor, 200 keys, 1 core (taskset -c 0)" "$one ms, $(awk -v all="$all" -v one="$one" 'BEGIN { printf "%.2f times as long", one / all }')"
