#!/bin/sh
# usage: unshare -m -p -f … sh enter.sh ROOT STATE COMMAND…
# Runs COMMAND in its own pid and mount namespace, on ROOT's programs and configuration but with the
# machine's other top-level folders (/home, /root, /tmp, …), so that `docker run -v` finds what the client names.
# A chroot would not do: runc wants / to be a mount point. /run is private: all that the engine leaves there ends with it.
set -eu
root=$1 state=$2
shift 2
mount -t tmpfs -o mode=755 sandbox /run
new=/run/root
mkdir "$new"
mount --bind "$root" "$new"
mkdir -p "$new/proc" "$new/sys" "$new/dev" "$new/run"
mount -t proc proc "$new/proc"
mount -t binfmt_misc binfmt_misc "$new/proc/sys/fs/binfmt_misc" # newer kernels forget all entries with the last such mount
mount --rbind /sys "$new/sys"
mount --rbind /dev "$new/dev"
mount -t tmpfs -o mode=755 sandbox "$new/run"
mkdir "$new/run/lock"
for path in /*; do
    case ${path#/} in
    bin | sbin | lib* | usr | etc | proc | sys | dev | run | boot | lost+found) continue ;;
    esac
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        mkdir -p "$new$path"
        mount --rbind "$path" "$new$path"
    fi
done
if [ ! -e "$new$state" ]; then # the state is below a folder that is not shared, as /usr or /run
    mkdir -p "$new$state"
    mount --bind "$state" "$new$state"
fi
cd "$new"
mkdir run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old
cd /
# As systemd does for docker.service: what ends by itself is started again (BuildKit 0.13 panics at times), unless it ends
# as soon as it was started. Its containers end with it, its images and caches stay.
keep='
stop=
trap "stop=1; kill \$pid" TERM
while :; do
    start=$(date +%s)
    "$@" &
    pid=$!
    until wait $pid; code=$?; ! kill -0 $pid 2> /dev/null; do :; done
    if [ -n "$stop" ] || [ $(($(date +%s) - start)) -lt 5 ]; then exit $code; fi
    # a build step that lives on holds the lock of a cache mount; below tini as pid 1, -1 is this namespace alone
    while [ "$PPID" = 1 ] && kill -s KILL -- -1 2> /dev/null; do sleep 0.1; done
    echo "sandbox: $1 ended with exit code $code and is started again" >&2
done'
exec tini -- sh -c "$keep" keep "$@"
