#!/bin/sh
# Builds every test and runs the binaries two at a time, those first that take longest; one that mostly waits, for what
# it starts or for a deadline of lf's, comes beside one that derives keys all the time. What a binary printed follows when
# it has ended; the names of those that failed come last. LEFT names those that are left to make check, which is said.
set -eu
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
${CARGO:-cargo} test --locked --no-run --message-format=json >"$logs/built" || exit 1
sed -n 's/.*"executable":"\([^"]*\/deps\/[^"]*\)".*/\1/p' "$logs/built" >"$logs/all"
for name in ${LEFT:-}; do
	grep "/$name-[0-9a-f]*$" "$logs/all" || { echo "there is no test named $name" >&2; exit 1; }
done >"$logs/left"
grep -vxF -f "$logs/left" "$logs/all" >"$logs/binaries"
[ -s "$logs/binaries" ] || { echo "cargo built no test" >&2; exit 1; }
for name in keychains torture openapi web master rekey gateway_load concurrency pairing filesystems cloud local_keys \
	passphrase limits sandbox age status; do
	grep "/$name-[0-9a-f]*$" "$logs/binaries" || true
done >"$logs/first"
grep -vxF -f "$logs/first" "$logs/binaries" >"$logs/rest"
cat "$logs/first" "$logs/rest" | LOGS=$logs xargs -P 2 -I BINARY sh -c '
	name=$(basename BINARY)
	if BINARY >"$LOGS/$name.log" 2>&1; then end=; else end=$name; fi
	{ echo; echo "     Running ${name%-*}"; cat "$LOGS/$name.log"; } >"$LOGS/$name.out"
	flock "$LOGS" cat "$LOGS/$name.out"
	[ -z "$end" ] || echo "${name%-*}" >>"$LOGS/failed"'
[ ! -e "$logs/failed" ] || { echo; echo "failed: $(tr "\n" " " <"$logs/failed")" >&2; exit 1; }
[ -z "${LEFT:-}" ] || { echo; echo "all passed; left to make check: $LEFT, and three of four rows of the long tables"; }
