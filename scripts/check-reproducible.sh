#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Two builds that share nothing: are the files the same, byte by byte?
# One is made in its own tree, a folder with blanks in its name, by whoever runs this; the other out of a tree that
# cannot be written, by a user without HOME and, if root runs this, without rights, and without a network.
# TOOL=no: the library alone, which needs no network.  Some minutes.
set -u
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
tool=${TOOL:-yes}
passed=0
failed=0
verdict() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "reproducible: FAILED: $2" >&2
        [ ! -s "$tmp/log" ] || tail -n 15 "$tmp/log" >&2
    fi
}

chmod 755 "$tmp"
first="$tmp/a tree/of sources"
second=$tmp/another/much/deeper/folder
out=$tmp/out
mkdir -p "$first" "$second" "$out"
# Without .git, as from a tarball.
if [ -e .git ]; then
    git ls-files -z -co --exclude-standard | tar c --exclude='traces/*.gz' --null -T -
else
    tar c --exclude='./.build*' --exclude=./build .
fi >"$tmp/tree.tar"
tar xf "$tmp/tree.tar" -C "$first"
tar xf "$tmp/tree.tar" -C "$second"
chmod -R a-w,a+rX "$second"

unprivileged=
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    unprivileged='setpriv --reuid=65534 --regid=65534 --clear-groups'
    chown 65534:65534 "$out"
fi
offline=
unshare -n true 2>/dev/null && offline='unshare -n'

build() { # FOLDER ENVIRONMENT... make ARGUMENTS
    folder=$1
    shift
    (cd "$folder" && nice -n 10 env "$@") >"$tmp/log" 2>&1
}

# What make told this script is not for them.
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS CPPFLAGS LDFLAGS SWIFTFLAGS O B
build "$first" LC_ALL=C TZ=UTC0 make -j8 all TOOL="$tool"
verdict $? 'make -j8, in a folder with blanks'

# What the tool depends on, as a packager without a network gives it.
if [ "$tool" = yes ]; then
    chmod u+w "$second"
    cp -r "$first/.build/checkouts/swift-argument-parser" "$second"
    rm -rf "$second/swift-argument-parser/.git"
    chmod -R a-w,a+rX "$second"
fi
umask 077
# shellcheck disable=SC2086
build "$second" -u HOME -u USER TZ=Asia/Tokyo $offline $unprivileged make all O="$out" TOOL="$tool"
verdict $? 'make O=DIR, as a user without HOME, the sources read-only, without a network'
# shellcheck disable=SC2086
build "$second" -u HOME $offline $unprivileged make install O="$out" TOOL="$tool" DESTDIR="$out/root" PREFIX=/opt/tdp &&
    cmp "$out/root/opt/tdp/lib/libtdpmmu.a" "$out/libtdpmmu.a" >"$tmp/log" 2>&1
verdict $? 'make install O=DIR'

[ -n "$offline" ] || echo 'reproducible: not tried: a build without a network (unshare -n is refused here)'
[ -n "$unprivileged" ] || echo 'reproducible: not tried: a build by another user (this is not root)'
: >"$tmp/log"

version=$(sed -n 's/^#define TDPMMU_VERSION_[A-Z]* \([0-9]*\)$/\1/p' include/tdpmmu/types.h | paste -sd.)
library=libtdpmmu.so.1.${version#*.}
set -- "$library" "$library.debug" libtdpmmu.a
[ "$tool" = no ] || set -- "$@" tdpmmuctl installed/tdpmmuctl
for name; do
    cmp "$first/build/$name" "$out/$name" >"$tmp/log" 2>&1
    verdict $? "$name is not the same"
    echo "reproducible: $(sha256sum <"$out/$name" | cut -d' ' -f1) $name"
done
for folder in "$first" "$second" "$out"; do
    ! grep -qF "$folder" "$first/build/$library" "$first/build/libtdpmmu.a" "$out/$library" "$out/libtdpmmu.a"
    verdict $? "a file that is shipped names $folder"
done

echo "reproducible: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
