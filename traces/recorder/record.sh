#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# record.sh [OPTIONS] KERNEL OUT NAME:SEED[,NAME:SEED...] [CPU]
#   Boots an unpacked Debian kernel package in an emulated machine, plays scenarios (see
#   scenarios.h and scenarios_small.h) and puts the traces into the folder OUT.
#   CPU: EPYC (the default, 4-level paging) or max (5 levels) of QEMU's, with NPT.
#   --ept          an Intel machine in Bochs, with Accessed and Dirty bits and PML;
#                  CPU is one of Bochs's models then
#   --no-ad        kvm_intel does not use Accessed and Dirty bits, and so no PML
#   --no-pml       a processor without PML (Haswell)
#   --limit N      give up after N seconds (3600)
#   --still N      give up when nothing came from the machine for N seconds (600)
set -e
PATH=$PATH:/usr/sbin:/sbin # depmod is there
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '3,13s/^# //p' "$here/record.sh" >&2; exit 2; }

ept=
no_ad=
no_pml=
limit=3600
still=600
while :; do
    case ${1-} in
    --ept) ept=1 ;;
    --no-ad) no_ad=1 ;;
    --no-pml) no_pml=1 ;;
    --limit) limit=${2-}; shift ;;
    --still) still=${2-}; shift ;;
    -*) usage ;;
    *) break ;;
    esac
    shift
done
[ $# -ge 3 ] && [ $# -le 4 ] || usage
[ -n "$ept" ] || [ -z "$no_ad$no_pml" ] || usage
case $limit$still in *[!0-9]*) usage ;; esac
[ -n "$limit" ] && [ -n "$still" ] || usage
kernel=$1
out=$2
play=$3
cpu=${4-}

# What has to be there, and the Debian package that has it.
missing=
needs() { [ -e "$1" ] || command -v "$1" >/dev/null || missing="$missing $2"; }
needs "${CC:-cc}" gcc
needs busybox busybox-static
needs cpio cpio
needs depmod kmod
needs xz xz-utils
needs python3 python3
if [ -n "$ept" ]; then
    needs bochs bochs
    needs /usr/share/bochs/BIOS-bochs-latest bochsbios
    needs /usr/share/bochs/VGABIOS-lgpl-latest vgabios
    needs "$(dpkg -L bochs-term 2>/dev/null | grep 'term_gui\.so$' || echo none)" bochs-term
    needs /usr/lib/ISOLINUX/isolinux.bin isolinux
    needs /usr/lib/syslinux/modules/bios/ldlinux.c32 syslinux-common
    needs xorriso xorriso
else
    needs qemu-system-x86_64 qemu-system-x86
fi
[ -z "$missing" ] || { echo "record.sh: first do this: apt-get install$missing" >&2; exit 1; }
for image in "$kernel"/boot/vmlinuz-*; do :; done
[ -f "$image" ] || { echo "record.sh: $kernel is not an unpacked kernel package" >&2; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
sh "$here/initramfs.sh" "$kernel" "$tmp/initramfs.gz"
append="console=ttyS0,115200 loglevel=4 nokaslr no_hash_pointers panic=-1 play=$play"
if [ -n "$ept" ]; then
    [ -n "$cpu" ] || cpu=$([ -n "$no_pml" ] && echo corei7_haswell_4770 || echo corei7_skylake_x)
    # What only takes time in a machine that is interpreted.
    append="$append mitigations=off init_on_alloc=0 nowatchdog hugepagesz=2M hugepages=24"
    [ -z "$no_ad" ] || append="$append kvm_intel.eptad=0"
    sh "$here/bochs.sh" "$tmp" "$image" "$cpu" "$append"
    set -- bochs -q -f "$tmp/bochsrc" -rc "$tmp/debugger.rc"
else
    truncate -s 2G "$tmp/disk"
    append="$append quiet hugepagesz=1G hugepages=1 default_hugepagesz=2M hugepages=64"
    set -- qemu-system-x86_64 -display none -monitor none -no-reboot -m 6G -smp 3 \
        -cpu "${cpu:-EPYC},+svm,+npt" -accel tcg,thread=multi -kernel "$image" \
        -initrd "$tmp/initramfs.gz" -drive "file=$tmp/disk,format=raw,if=virtio" \
        -serial "file:$tmp/serial" -append "$append"
fi
status=0
python3 "$here/watch.py" "$tmp/serial" "$limit" "$still" "$@" || status=$?
[ "$status" -eq 0 ] || [ ! -f "$tmp/bochs.log" ] || tail -n 5 "$tmp/bochs.log" >&2
# What was recorded before something went wrong is there as well.
mkdir -p "$out"
tar xf "$tmp/disk" -C "$out" || status=1
exit "$status"
