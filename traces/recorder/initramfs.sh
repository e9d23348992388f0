#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# initramfs.sh KERNEL OUT: an initramfs that plays scenarios and writes what it recorded to
# the first disk as a tar file, on AMD and on Intel machines.  KERNEL: an unpacked Debian
# kernel package.
set -e
kernel=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
version=$(ls "$kernel/lib/modules")
modules=$kernel/lib/modules/$version
[ -f "$modules/modules.dep" ] || depmod -b "$kernel" "$version"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/modules" "$root/out"
cp "$(command -v busybox)" "$root/bin/busybox"
${CC:-cc} -O1 -Wall -Wextra -static -o "$root/recorder" "$here/recorder.c" -lpthread
cp "$here/../../Sources/HostRecorder/kprobes.txt" "$here/init" "$root/"

# A module behind those that it needs.
add() {
    for file in $(sed -n "s|^[^:]*/$1\.ko[^:]*: *||p" "$modules/modules.dep"); do
        add "$(basename "$file" | sed 's/\.ko.*//')"
    done
    file=$(sed -n "s|^\([^:]*/$1\.ko[^:]*\):.*|\1|p" "$modules/modules.dep")
    if [ -z "$file" ] || [ -f "$root/modules/$1.ko" ]; then return 0; fi
    case $file in
    *.xz) xz -dc "$modules/$file" ;;
    *) cat "$modules/$file" ;;
    esac >"$root/modules/$1.ko"
    echo "$1" >>"$root/modules/order"
}
for module in virtio_blk ata_piix sd_mod brd kvm-amd kvm-intel; do add $module; done
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out"
