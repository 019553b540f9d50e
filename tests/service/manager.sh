#!/bin/sh
# A user manager of systemd's for one test: manager.sh ROOM USER. Its home and its runtime directory are
# ROOM/home and ROOM/run. It needs root, a mount namespace (unshare --mount) and control groups of its own.
set -e
room=$1 user=$2
mount --make-rprivate /
# systemd asks whether the system was booted with it, and builds the roots of its services here.
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/systemd/unit-root
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$tree/cgroup.procs" ] || continue
    group=$tree/$(basename "$room")
    mkdir -p "$group/manager"
    chown -R "$user" "$group"
    echo $$ >"$group/manager/cgroup.procs"
done
exec setpriv --reuid="$user" --regid="$user" --clear-groups env -i HOME="$room/home" XDG_RUNTIME_DIR="$room/run" \
    PATH="$PATH" SYSTEMD_LOG_TARGET=console /lib/systemd/systemd --user --unit=basic.target
