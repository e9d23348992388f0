#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# bochs.sh FOLDER KERNEL-IMAGE MODEL APPEND: makes what Bochs needs to boot KERNEL-IMAGE with
# FOLDER/initramfs.gz: a boot CD, an empty disk, and bochsrc and debugger.rc to start it with.
# Bochs cannot boot a kernel by itself, so a boot loader does it from the CD.
set -e
folder=$1
image=$2
model=$3
append=$4
mkdir -p "$folder/cd/isolinux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$folder/cd/isolinux/"
cp "$image" "$folder/cd/vmlinuz"
cp "$folder/initramfs.gz" "$folder/cd/initrd"
cat >"$folder/cd/isolinux/isolinux.cfg" <<CONFIG
DEFAULT record
PROMPT 0
TIMEOUT 1
LABEL record
 KERNEL /vmlinuz
 APPEND initrd=/initrd $append
CONFIG
xorriso -as mkisofs -quiet -o "$folder/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$folder/cd"
rm -r "$folder/cd"

# The disk has as many bytes as its cylinders, heads and sectors say.
cylinders=400
truncate -s $((cylinders * 16 * 63 * 512)) "$folder/disk"
cat >"$folder/bochsrc" <<CONFIG
config_interface: textconfig
display_library: term
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0, iodebug=0
megs: 1024
cpu: model=$model, count=1, ips=40000000, reset_on_triple_fault=0
romimage: file=\$BXSHARE/BIOS-bochs-latest
vgaromimage: file=\$BXSHARE/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata0-master: type=disk, path="$folder/disk", mode=flat, cylinders=$cylinders, heads=16, spt=63
ata1-master: type=cdrom, path="$folder/boot.iso", status=inserted
boot: cdrom
floppy_bootsig_check: disabled=1
com1: enabled=1, mode=file, dev="$folder/serial"
clock: sync=none, time0=utc
log: "$folder/bochs.log"
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
mouse: enabled=0
pci: enabled=1, chipset=i440fx
CONFIG
# Debian's Bochs has its debugger in it, which waits for a command.
printf 'continue\nquit\n' >"$folder/debugger.rc"
