#!/bin/sh
# Puts schemathesis, with all that it needs in the versions of requirements.txt, into a directory of its own: install.sh DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cmp -s "$here/requirements.txt" "$1/requirements.txt" && exit 0
command -v python3 >/dev/null || { echo "this test needs python3; on Debian: apt-get install python3-venv" >&2; exit 1; }
python3 -m venv --clear "$1"
"$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$1/"
