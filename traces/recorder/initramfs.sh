#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# initramfs.sh KERNEL OUT: an initramfs that plays scenarios and writes what it recorded to
# the first virtio disk as a tar file.  KERNEL: an unpacked Debian kernel package.
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
cp "$here/kprobes.txt" "$root/"

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
for module in virtio_blk brd kvm-amd; do add $module; done

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mount -t tracefs tracefs /sys/kernel/tracing
$b mount -t cgroup2 cgroup /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
$b mkdir -p /sys/fs/cgroup/rec
for m in $($b cat /modules/order); do
    case $m in brd) options="rd_size=262144 rd_nr=1" ;; *) options= ;; esac
    $b insmod /modules/$m.ko $options
done
$b mkswap /dev/ram0 >/dev/null && $b swapon /dev/ram0
while read -r probe; do echo "$probe" >>/sys/kernel/tracing/kprobe_events || echo "no probe: $probe"; done </kprobes.txt
$b mount -t tmpfs -o size=3g tmpfs /out
for one in $($b sed 's/.*play=//; s/ .*//; s/,/ /g' /proc/cmdline); do
    name=${one%%:*}
    echo "== $name"
    $b timeout 400 /recorder /out $name ${one##*:}
    echo "   exit $?"
    $b gzip -f /out/$name.txt /out/$name.npt.txt
    cd /out && $b tar cf /dev/vda . && $b sync
done
$b poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out"
