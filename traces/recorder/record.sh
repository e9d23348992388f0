#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# record.sh KERNEL OUT NAME:SEED[,NAME:SEED...] [CPU]: boot an unpacked Debian kernel package in
# an emulated AMD machine, play scenarios (see scenarios.h), and put the traces into OUT.
# CPU: EPYC (4-level paging) or max (5 levels).
set -e
[ $# -ge 3 ] || { sed -n '3,5s/^# //p' "$0" >&2; exit 2; }
kernel=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
sh "$here/initramfs.sh" "$kernel" "$tmp/initramfs.gz"
truncate -s 2G "$tmp/disk"
timeout 3600 qemu-system-x86_64 -nographic -no-reboot -m 6G -smp 3 -cpu "${4:-EPYC},+svm,+npt" \
    -accel tcg,thread=multi -kernel "$kernel"/boot/vmlinuz-* -initrd "$tmp/initramfs.gz" \
    -drive "file=$tmp/disk,format=raw,if=virtio" \
    -append "console=ttyS0 quiet loglevel=4 nokaslr no_hash_pointers panic=-1 hugepagesz=1G hugepages=1 \
default_hugepagesz=2M hugepages=64 play=$3" </dev/null 2>&1 | grep -v "TCG doesn't support"
mkdir -p "$out"
tar xf "$tmp/disk" -C "$out"
