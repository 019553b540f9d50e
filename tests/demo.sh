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

# Prints a command as it can be typed.
prompt() {
    printf '\n$'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
}
show() {
    prompt lf "$@"
    "$lf" "$@"
}

echo "# A store in $HOME, under a passphrase from the environment; no keychain needed."
show keys init
echo
echo "\$ printf '%s' sk-demo-0123456789 | lf keys add --provider openai --label Prod"
printf '%s' sk-demo-0123456789 | "$lf" keys add --provider openai --label Prod
echo "\$ printf '%s' sk-ant-demo-0123456789 | lf keys add --provider anthropic"
printf '%s' sk-ant-demo-0123456789 | "$lf" keys add --provider anthropic
show keys list
show keys rotate Prod
show keys run --key Prod -- sh -c 'echo "this program has a key of ${#OPENAI_API_KEY} characters in OPENAI_API_KEY"'
show keys export Prod --i-understand
show keys doctor
echo
echo "\$ cp -r ~/.lenserfight/keys ~/copy"
cp -r "$HOME/.lenserfight/keys" "$HOME/copy"
show keys remove Prod --yes
show keys restore "$HOME/copy"
show keys remove Prod --yes
echo
echo "# On disk: ciphertext, and what a key is called."
cat "$HOME"/.lenserfight/keys/*.json

echo
echo "\$ TOKEN=\$(lf gateway pair | sed -n 1p)"
token=$("$lf" gateway pair | sed -n 1p)
prompt lf gateway serve --keys-only --port 0
"$lf" gateway serve --keys-only --port 0 >"$HOME/gateway.log" &
gateway=$!
trap 'kill $gateway 2>/dev/null || true; wait $gateway || true; rm -rf "$HOME"' EXIT
until grep -qs listening "$HOME/gateway.log"; do sleep 0.1; done
cat "$HOME/gateway.log"
if command -v curl >/dev/null; then
    url=$(sed 's/listening on //' "$HOME/gateway.log")
    ask() {
        rest=$(prompt "$@")
        printf '\n$ curl -H "Authorization: Bearer $TOKEN"%s\n' "${rest#??}" >&2
        curl -sS -H "Authorization: Bearer $token" "$@"
    }
    body='{"provider":"mistral","label":"Web","rawKey":"sk-web-0123456789"}'
    added=$(ask -H 'Content-Type: application/json' -d "$body" "$url/keys")
    echo "$added"
    id=$(echo "$added" | sed 's/.*"id":"\([^"]*\)".*/\1/')
    resolved=$(ask -X POST "$url/keys/$id/resolve")
    echo "$resolved"
    test "$resolved" = '{"key":"sk-web-0123456789"}'
    show gateway unpair --all
    ask "$url/keys"
    echo
else
    echo "# (curl is not here, so the round trip over HTTP is left out; on Debian: apt-get install curl)"
fi
test "$("$lf" keys export anthropic --i-understand 2>/dev/null)" = sk-ant-demo-0123456789
echo "# The other key still opens. Done."
