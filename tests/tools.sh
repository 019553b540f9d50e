#!/bin/sh
# Makes sure that programs are there: tools.sh PROGRAM:DEBIAN-PACKAGE[,DEBIAN-PACKAGE]...
# Installs what is missing where this is Debian and we are root; names it and fails otherwise.
missing=
for pair in "$@"; do
    program=${pair%%:*} package=$(echo "${pair#*:}" | tr , ' ')
    case $program in
    libsecret-1) pkg-config --exists libsecret-1 2>/dev/null ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    /*) [ -e "$program" ] ;;
    *) command -v "$program" >/dev/null 2>&1 ;;
    esac || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing" >&2
    apt-get update -qq && exec apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
echo "this needs programs that are not here; install them first: apt-get install$missing" >&2
exit 1
