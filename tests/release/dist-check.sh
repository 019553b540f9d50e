#!/bin/sh
# Makes a release twice, here and from the archive that git makes of it, unpacked in another directory with another name.
# Both have the same bytes, the bills of materials keep their schema, and the lf of this machine runs from its archive.
# dist-check.sh TARGET...
set -eu
cd "$(dirname "$0")/../.."
out=${CARGO_TARGET_DIR:-target}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
commit=$(sh tests/release/source.sh commit)
case $commit in
*-changed)
    echo "files of this checkout are not committed, and an archive would not have them" >&2
    exit 1
    ;;
esac
sh tests/tools.sh python3:python3 python3-venv:python3-venv git:git
fail() {
    echo "$*" >&2
    exit 1
}
sh tests/release/dist.sh "$@"

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
git archive --prefix="another name/" HEAD | tar -xf - -C "$room"
[ ! -e "$out/zig" ] || ZIG=$(ls "$out"/zig/lib/python3*/site-packages/ziglang/zig)
# Nothing of this checkout, this user or this time may get into the bytes.
(
    cd "$room/another name"
    export CARGO_TARGET_DIR="$room/out" ZIG="${ZIG:-}" TZ=Asia/Kathmandu
    umask 077
    sh tests/release/dist.sh "$@" >"$room/said" || { cat "$room/said" >&2; exit 1; }
)
diff "$out/dist/SHA256SUMS" "$room/out/dist/SHA256SUMS" || fail "the bytes differ"
(cd "$out/dist" && sha256sum --quiet -c SHA256SUMS)

python=$out/bill/bin/python
if ! "$python" -c 'import cyclonedx' 2>/dev/null; then
    python3 -m venv "$out/bill"
    "$out/bill/bin/pip" install -q 'cyclonedx-python-lib[json-validation]==11.12.0'
fi
"$python" - "$out"/dist/*.cdx.json <<'EOF'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for name in sys.argv[1:]:
    text = open(name).read()
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    broken = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text.replace('"library"', '"tenant"'))
    if wrong or not broken:
        sys.exit(f"{name}: {wrong or 'the schema lets anything pass'}")
EOF

archive=$(ls "$out/dist/lf-"*"-$1.tar.gz")
tar -xzf "$archive" -C "$room"
lf=$(ls "$room"/lf-*/bin/lf)
"$lf" version
"$lf" version | grep -qF "($1, musl, commit $commit)" || fail "it does not say what it is"
for file in man/man1/lf.1 bash-completion/completions/lf zsh/site-functions/_lf fish/vendor_completions.d/lf.fish \
    doc/lf/LICENSE doc/lf/THIRD-PARTY doc/lf/CHANGELOG.md doc/lf/SECURITY.md doc/lf/README.md; do
    [ -s "$room"/lf-*/share/$file ] || fail "$archive has no share/$file"
done
units=$(echo "$room"/lf-*/lib/systemd/user)
grep -q '^ExecStart=/usr/local/bin/lf gateway serve$' "$units/lf-gateway.service" || fail "the unit has another program"
echo "the same bytes twice: $(wc -l <"$out/dist/SHA256SUMS") files"
