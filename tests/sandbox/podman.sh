#!/bin/sh
# The podman of the sandbox's root @ROOT@ (roots.py puts its path in), with its images in there. Applying a layer wants
# / to be a mount point, as runc does (enter.sh). The mounts end with the process.
exec unshare --mount --propagation private sh -euc '
cd "$0"
mount --bind . .
cd "$0"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
pivot_root . mnt
cd /
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
exec podman --storage-driver vfs "$@"' '@ROOT@' "$@"
