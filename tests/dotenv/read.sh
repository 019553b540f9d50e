#!/bin/sh
# Reads lines.txt with bash, python-dotenv and Node's dotenv, and records what each gives in
# readings.json: read.sh DIRECTORY (for the two libraries). tests/dotenv.rs and the unit tests of
# src/vault/dotenv.rs hold `import` to that record.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
python3 -m venv "$1/python"
"$1/python/bin/pip" install --quiet --disable-pip-version-check python-dotenv==1.2.4
npm install --prefix "$1/node" --ignore-scripts --no-audit --no-fund --silent dotenv@18.0.10
"$1/python/bin/python" "$here/read.py" "$1/node/node_modules"
