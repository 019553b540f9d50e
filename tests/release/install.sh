#!/bin/sh
# Puts lf, its man page and its completions below a directory, under a name of your choice:
# install.sh LF DIRECTORY NAME [LF-THAT-RUNS-HERE]
set -eu
lf=$1 to=$2 name=$3 runs=${4:-$1}
case $name in
'' | *[!a-zA-Z0-9_-]*)
    echo "NAME is letters, digits, - and _, not \"$name\"" >&2
    exit 2
    ;;
esac
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
# The texts speak of the name by which lf is called.
ln -s "$(realpath "$runs")" "$room/$name"
put() { install -d "$(dirname "$2")" && install -m "$1" "$3" "$2"; }
text() {
    "$room/$name" $2 >"$room/text"
    put 644 "$to/share/$1" "$room/text"
}
put 755 "$to/bin/$name" "$lf"
text "man/man1/$name.1" man
text "bash-completion/completions/$name" 'completions bash'
text "zsh/site-functions/_$name" 'completions zsh'
text "fish/vendor_completions.d/$name.fish" 'completions fish'
# What the page calls itself, and what whatis looks up.
upper=$(printf '%s' "$name" | tr a-z A-Z)
man=$to/share/man/man1/$name.1
sed "s/^\.TH LF /.TH $upper /; s/^lf \\\\- /$name \\\\- /; s/^\.B lf\$/.B $name/" "$man" >"$room/text"
put 644 "$man" "$room/text"
