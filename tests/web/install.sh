#!/bin/sh
# Puts playwright-core, the version of the lock file, beside the scripts that use it: install.sh DIRECTORY
# It brings no browser; the tests drive Debian's chromium.
set -eu
for pair in chromium:chromium node:nodejs npm:npm Xvfb:xvfb openssl:openssl; do
    command -v "${pair%%:*}" >/dev/null || { echo "the browser tests need ${pair%%:*}; on Debian: apt-get install ${pair#*:}" >&2; exit 1; }
done
here=$(dirname "$0")
mkdir -p "$1"
cp "$here"/*.mjs "$1"
cmp -s "$here/package-lock.json" "$1/node_modules/package-lock.json" && exit 0
cp "$here/package.json" "$here/package-lock.json" "$1"
npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
cp "$here/package-lock.json" "$1/node_modules/"
