#!/bin/sh
# Tries make install and make uninstall, also under another name: install-check.sh LF
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$(dirname "$0")/../.." && built=$(realpath "$1")
fail() {
    echo "$*" >&2
    exit 1
}
says() { # TEXT FILE
    grep -qF -e "$1" "$2" || fail "$2 does not say: $1"
}
share=$room/usr/share

for name in lf lfk; do
    echo "NAME=$name"
    # Another CARGO_TARGET_DIR with a program of its own, and a cargo that must not be called.
    mkdir -p "$room/out/release"
    cp "$built" "$room/out/release/lf"
    export CARGO_TARGET_DIR="$room/out"
    installs() { ${MAKE:-make} -s "$1" CARGO=false PREFIX=/usr DESTDIR="$room" NAME=$name; }
    if [ "$(id -u)" = 0 ]; then installs install; else sh tests/release/install.sh "$room/out/release/lf" "$room/usr" $name; fi
    lf=$room/usr/bin/$name
    "$lf" version | grep -q '^lf [0-9]' || fail "$lf does not run"
    # Every command that it tells of is one that can be typed.
    HOME=$room "$lf" keys get >"$room/said" 2>&1 && fail "$lf keys get does not fail"
    says "lf: hint: $name keys get --help" "$room/said"
    "$lf" --help >"$room/said"
    says "  $name keys init" "$room/said"
    says "$name help TOPIC" "$room/said"
    HOME=$room "$lf" gateway install --keys-only --print >"$room/said"
    says "ExecStart=\"$lf\" gateway serve" "$room/said"
    man=$share/man/man1/$name.1
    mandoc -T lint -W error "$man" || fail "mandoc complains"
    mandoc -T ascii "$man" | sed 's/.\x08//g' >"$room/said"
    says "$name keys add --provider" "$room/said"
    grep -q "^ *$name - " "$room/said" || fail "the page does not begin with its name"
    # Some of its lines end between lf and the rest of a command.
    tr -s ' \n' ' ' <"$room/said" | grep -oE '(^|[^a-z/.-])lf (keys|gateway|help|cloud|man|version|--[a-z]+)' >"$room/others" || :
    [ $name = lf ] || [ ! -s "$room/others" ] || fail "the page tells of other commands: $(sort -u "$room/others")"
    # Each shell loads its file, and gets an answer from lf by that name.
    PATH=$room/usr/bin:$PATH
    export PATH
    bash -c ". '$share/bash-completion/completions/$name'; COMP_WORDS=($name keys ad) COMP_CWORD=2
        _$name $name ad keys && [ \"\${COMPREPLY[*]}\" = 'add adopt' ] && complete -p $name" | grep -q " $name\$" ||
        fail "bash completes nothing"
    zsh -fc "fpath=('$share/zsh/site-functions' \$fpath); autoload -U compinit; compinit -u -D; [[ \$_comps[$name] = _$name ]]" ||
        fail "zsh completes nothing"
    HOME=$room fish --no-config -c "source '$share/fish/vendor_completions.d/$name.fish'; complete -C '$name keys ad'" |
        grep -q '^add' || fail "fish completes nothing"
    installs uninstall
    rest=$(find "$room/usr" -type f)
    [ -z "$rest" ] || fail "uninstall leaves $rest"
done
echo "installed, used and removed as lf and as lfk"
