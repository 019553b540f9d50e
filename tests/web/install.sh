#!/bin/sh
# Puts the packages of the lock file beside the scripts that use them: install.sh DIRECTORY
# They bring no browser; the tests drive Debian's chromium and firefox-esr.
set -eu
for pair in chromium:chromium firefox-esr:firefox-esr node:nodejs npm:npm Xvfb:xvfb openssl:openssl; do
    command -v "${pair%%:*}" >/dev/null || { echo "the browser tests need ${pair%%:*}; on Debian: apt-get install ${pair#*:}" >&2; exit 1; }
done
here=$(dirname "$0")
mkdir -p "$1"
cp "$here"/*.mjs "$1"
cmp -s "$here/package-lock.json" "$1/node_modules/package-lock.json" && exit 0
cp "$here/package.json" "$here/package-lock.json" "$1"
npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
cp "$here/package-lock.json" "$1/node_modules/"
