#!/bin/sh
# Which commit the source is of, and when it was made, in seconds: source.sh commit|time
# Git says it, or the line that git archive writes into source.txt. Nothing is printed where neither does.
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd -P)
git() { command git -C "$project" "$@" 2>/dev/null; }
if [ "$(git rev-parse --show-toplevel)" = "$project" ]; then
    commit=$(git rev-parse HEAD | cut -c 1-12) time=$(git log -1 --format=%ct)
    [ -z "$(git status --porcelain --untracked-files=no)" ] || commit=$commit-changed
else
    read -r commit time <"$project/tests/release/source.txt"
    case $commit in
    *Format*) commit='' time='' ;;
    *) commit=$(printf '%s' "$commit" | cut -c 1-12) ;;
    esac
fi
case $1 in
commit) echo "$commit" ;;
time) echo "$time" ;;
esac
