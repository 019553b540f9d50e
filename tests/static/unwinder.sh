#!/bin/sh
# Makes the libunwind.a that std on musl asks for, of gcc's own unwinder: unwinder.sh DIRECTORY
set -eu
room=$1
gcc -O2 -ffile-prefix-map="$PWD"=. -isystem /usr/include/x86_64-linux-musl -c "$(dirname "$0")/unwinder.c" -o "$room/unwinder.o"
cp "$(gcc -print-file-name=libgcc_eh.a)" "$room/libunwind.a"
ar rD "$room/libunwind.a" "$room/unwinder.o"
