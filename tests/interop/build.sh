#!/bin/sh
# Builds the real keytar from its npm package: build.sh DIRECTORY
# Its prebuilt binary comes from elsewhere, so it is compiled against the headers beside node.
set -eu
[ -e "$1/node_modules/keytar/build/Release/keytar.node" ] && exit 0
here=$(dirname "$0")
mkdir -p "$1"
cp "$here/package.json" "$here/package-lock.json" "$1"
npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
node_root=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
gyp=$(dirname "$(readlink -f "$(command -v npm)")")/../node_modules/node-gyp/bin/node-gyp.js
[ -e "$gyp" ] || gyp=/usr/share/nodejs/node-gyp/bin/node-gyp.js
cd "$1/node_modules/keytar"
node "$gyp" rebuild --nodedir="$node_root"
