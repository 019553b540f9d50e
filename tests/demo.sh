#!/bin/sh
# Shows the main job of lf on real input, in a home of its own that is gone afterwards: demo.sh LF
set -eu
lf=$1
HOME=$(mktemp -d)
trap 'rm -rf "$HOME"' EXIT
export HOME
LENSERFIGHT_KEYS_PASSPHRASE=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export LENSERFIGHT_KEYS_PASSPHRASE
unset LENSERFIGHT_RUNTIME_DIR LENSERFIGHT_KEYS_DIR LENSERFIGHT_KEYS_PASSPHRASE_FILE CREDENTIALS_DIRECTORY DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR

show() {
    echo
    echo "\$ lf $*"
    "$lf" "$@"
}

echo "# A store in $HOME, under a passphrase from the environment; no keychain needed."
show keys init
echo
echo "\$ printf '%s' sk-demo-0123456789 | lf keys add --provider openai --label Prod"
printf '%s' sk-demo-0123456789 | "$lf" keys add --provider openai --label Prod
printf '%s' sk-ant-demo-0123456789 | "$lf" keys add --provider anthropic >/dev/null
show keys list
show keys rotate Prod
show keys export Prod --i-understand
show keys doctor
show keys remove Prod --yes
echo
echo "# On disk: ciphertext, and what a key is called."
cat "$HOME"/.lenserfight/keys/*.json
test "$("$lf" keys export anthropic --i-understand 2>/dev/null)" = sk-ant-demo-0123456789
echo "# The other key still opens. Done."
