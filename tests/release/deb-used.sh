#!/bin/sh
# What a user does with the installed package, in the chroot of deb-check.sh.
set -eux
lf version
HOME=$(mktemp -d)
export HOME LENSERFIGHT_KEYS_PASSPHRASE='correct horse battery staple'
lf keys init
printf %s sk-test-0123456789 | lf keys add --provider openai --label Prod
test "$(lf keys run --key Prod -- sh -c 'echo $OPENAI_API_KEY')" = sk-test-0123456789
lf keys rekey --passphrase-stdin <<EOF
another passphrase of mine
EOF
LENSERFIGHT_KEYS_PASSPHRASE='another passphrase of mine' lf keys doctor
lf gateway serve --keys-only --port 0 >"$HOME/said" &
gateway=$!
until grep -q listening "$HOME/said"; do sleep 0.1; done
port=$(sed -n 's/^listening on .*://p' "$HOME/said")
lf gateway status --port "$port"
kill $gateway
wait $gateway
test -s /usr/share/man/man1/lf.1.gz -a -s /usr/share/bash-completion/completions/lf
test -s /usr/share/zsh/vendor-completions/_lf -a -s /usr/share/fish/vendor_completions.d/lf.fish
grep -q '^ExecStart=/usr/bin/lf gateway serve' /usr/lib/systemd/user/lf-gateway.service
rm -r "$HOME"
