#!/usr/bin/env bash
# Figures, each with the command that gives it: figures.sh LF. Nothing here fails by being slow.
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
static=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-musl/release/lf
[ ! -e "$static" ] || row "static binary (make static)" "$(stat -c %s "$static") bytes"
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
# The gateway, with 10 keys and 8 browsers; each may resolve five at once.
export LENSERFIGHT_RUNTIME_DIR=$dir/gateway LENSERFIGHT_KEYS_DIR=$dir/gateway/keys
mkdir -p -m 700 "$LENSERFIGHT_KEYS_DIR"; fill "$LENSERFIGHT_KEYS_DIR" 10
tokens=(); for n in 1 2 3 4 5 6 7 8; do tokens+=("$("$lf" gateway pair --json --name "b$n" | sed 's/.*"token":"\([^"]*\)".*/\1/')"); done
"$lf" gateway serve --keys-only --port 0 >"$dir/log" 2>&1 & gateway=$!
trap 'kill $gateway 2>/dev/null || true; rm -rf "$dir"' EXIT
until grep -q listening "$dir/log"; do sleep 0.05; done
url=$(sed -n 's/^listening on //p' "$dir/log")
status() { awk -v name="$1:" '$1 == name { print $2 " KiB" }' "/proc/$gateway/status"; }
row "gateway, idle (VmRSS)" "$(status VmRSS)"
[ "$(id -u)" != 0 ] || row "gateway and helper, idle (Pss of both)" "$(for pid in $gateway $(cat /proc/$gateway/task/$gateway/children); do
    cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { sum += $2 } END { print sum " KiB" }')"
curl -s -o /dev/null -H "Authorization: Bearer ${tokens[0]}" "$url/keys" # the first one reads the list of pairings
load() { wrk -t1 -d3s --latency "${@:2}" | awk -v name="$1" '/99%/ { p99 = $2 } /Requests\/sec/ { printf "%-44s %d requests/s, p99 %s\n", name, $2, p99 }'; }
for connections in 1 16 64; do
    load "GET /healthz, $connections connections (wrk -t1)" -c $connections "$url/healthz"
    load "GET /keys, 10 keys, $connections connections" -c $connections -H "Authorization: Bearer ${tokens[0]}" "$url/keys"
done
load "GET /healthz, a connection each" -c 16 -H "Connection: close" "$url/healthz"
id=$(curl -s -H "Authorization: Bearer ${tokens[0]}" "$url/keys" | sed 's/.*"id":"\([^"]*\)".*/\1/')
# By turns, so that both have the same machine: the medians of five rounds each.
cd "$root"; cargo bench --quiet --locked --bench derive --no-run 2>/dev/null
for round in 1 2 3 4 5; do
    cargo bench --quiet --locked --bench derive 2>/dev/null >>"$dir/ours"
    node "$root/tests/bench/openssl.mjs" >>"$dir/openssl"
done; cd - >/dev/null
median() { sort -n "$1" | sed -n 3p; }
bare=$(median "$dir/ours") openssl=$(median "$dir/openssl")
for token in "${tokens[@]:0:4}"; do for n in 1 2 3 4 5; do
    curl -s -o /dev/null -w '%{time_total}\n' -X POST -H "Authorization: Bearer $token" "$url/keys/$id/resolve"
done; done | sort -n >"$dir/times"
row "bare key derivation (cargo bench)" "$bare ms"
row "the same by OpenSSL (Node's scryptSync)" "$openssl ms; ours takes $(awk -v a="$bare" -v b="$openssl" 'BEGIN { printf "%.2f", a / b }') of it"
row "resolve over HTTP, p50 and p99 of 20" "$(awk '{ t[NR] = $1 * 1000 } END { printf "%.2f ms, %.2f ms", t[10], t[20] }' "$dir/times")"
pids=()
for token in "${tokens[@]:4:4}"; do for n in 1 2 3 4 5; do
    curl -s -o /dev/null -X POST -H "Authorization: Bearer $token" "$url/keys/$id/resolve" & pids+=($!)
done; done; wait "${pids[@]}"
row "gateway, peak after 20 resolves at once (VmHWM)" "$(status VmHWM)"
kill "$gateway"; wait "$gateway"; unset LENSERFIGHT_RUNTIME_DIR
# What a refusal tells by its time: 100,000 requests a row (cargo bench --bench timing).
(cd "$root"; cargo bench --quiet --locked --bench timing 2>/dev/null)

mkdir -m 700 "$dir/200"; fill "$dir/200" 200
all=$(mean_ms 1 "$lf keys doctor") one=$(mean_ms 1 "taskset -c 0 $lf keys doctor")
row "lf keys doctor, 200 keys, $(nproc) cores" "$all ms"
row "lf keys doctor, 200 keys, 1 core (taskset -c 0)" "$one ms, $(awk -v all="$all" -v one="$one" 'BEGIN { printf "%.2f times as long", one / all }')"
derivations() { awk -v seconds="$1" -v bare="$bare" -v cores="$(nproc)" -v count="$2" 'BEGIN { printf "%.2f", seconds * 1000 * cores / (bare * count) }'; }
read -r seconds peak <<<"$(printf 'a new passphrase for the bench' | command time -f '%e %M' "$lf" keys rekey --passphrase-stdin 2>&1 >/dev/null | tail -1)"
row "lf keys rekey, 200 keys (time -f '%e %M')" "$seconds s, $peak KiB; $(derivations "$seconds" 400) times two bare derivations a key"
mkdir -m 700 "$dir/1000"; fill "$dir/1000" 1000
read -r seconds peak <<<"$(command time -f '%e %M' "$lf" keys doctor 2>&1 >/dev/null | tail -1)"
row "lf keys doctor, 1000 keys (time -f '%e %M')" "$seconds s, $peak KiB; $(awk -v s="$seconds" -v cores="$(nproc)" 'BEGIN { printf "%.1f keys a second and core", 1000 / s / cores }')"
