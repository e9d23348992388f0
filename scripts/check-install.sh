#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install into folders of every sort, use what is there as a stranger would, and
# take it back: nothing may be left.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0
verdict() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "install: FAILED: $where: $2" >&2
        [ ! -s "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
    fi
}

cat >"$tmp/use.c" <<'C'
#include <stdio.h>
#include <string.h>
#include <tdpmmu.h>

int main(void)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);

    if (!kvm)
        return 1;
    tdpmmu_destroy_vm(kvm);
    puts(tdpmmu_version());
    return 0;
}
C

top=$PWD
# From another folder: make goes to ours.
mk() { (cd "$tmp" && make --no-print-directory -C "$top" "$1" DESTDIR="$root" "PREFIX=$prefix" "LIBDIR=$libdir" ${bindir:+"BINDIR=$bindir"}) >"$tmp/log" 2>&1; }
pc() { PKG_CONFIG_LIBDIR=$root$libdir/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root pkg-config "$@" tdpmmu; }

# WHERE ROOT PREFIX LIBDIR [BINDIR]: the tool finds its library, and a C program all it needs.
usable() {
    where=$1 root=$2 prefix=$3 libdir=$4 bindir=${5:-}
    mkdir -p "$root$prefix/include"
    echo mine >"$root$prefix/include/mine.h"
    mk install
    verdict $? 'make install'

    # As a shell reads it: a blank in a path comes with a backslash.
    : >"$tmp/log"
    eval "${CC:-cc} -Wall -Werror \"\$tmp/use.c\" -o \"\$tmp/use\" $(pc --cflags) $(pc --libs)" >"$tmp/log" 2>&1
    verdict $? "a program compiled with what pkg-config says: $(pc --cflags --libs)"
    out=$(LD_LIBRARY_PATH=$root$libdir "$tmp/use" 2>&1)
    [ "$out" = "$(pc --modversion)" ]
    verdict $? "the program said '$out', pkg-config says '$(pc --modversion)'"

    # The tool finds the installed library by itself, and not the one in build/.
    tool=$root${bindir:-$prefix/bin}/tdpmmuctl
    found=$(ldd "$tool" 2>/dev/null | sed -n 's/.*libtdpmmu.so.1 => \(.*\) (0x.*/\1/p')
    [ -n "$found" ] && [ "$(readlink -f "$found")" = "$(readlink -f "$root$libdir/libtdpmmu.so.1")" ]
    verdict $? "tdpmmuctl does not find the installed library, but '$found'"
    "$tool" --help >"$tmp/log" 2>&1
    verdict $? 'tdpmmuctl --help'
    ! grep -rqF "$top" "$root$prefix" "$root$libdir"
    verdict $? "an installed file names the build directory: $(grep -rlF "$top" "$root$prefix" "$root$libdir")"
}

gone() {
    mk uninstall
    verdict $? 'make uninstall'
    left=$(cd "$tmp" && find . -name '*tdpmmu*' ! -type d ! -name use.c)
    [ -z "$left" ] && [ -f "$root$prefix/include/mine.h" ]
    verdict $? "after uninstall there is: $left"
}

usable 'a staged root' "$tmp/root" /opt/tdp /opt/tdp/lib64

# The module map is for Swift and clang: does it name files that are there?
missing=$(sed -n 's/.*header "\(.*\)".*/\1/p' "$root/opt/tdp/include/tdpmmu/module.modulemap" |
    while read -r h; do [ -f "$root/opt/tdp/include/tdpmmu/$h" ] || echo "$h"; done)
[ -z "$missing" ]
verdict $? "the module map names $missing"

printf 'import CTDPMMU\nlet vm: UnsafeMutablePointer<kvm>? = tdpmmu_create_vm(nil)\ntdpmmu_destroy_vm(vm)\n' >"$tmp/use.swift"
"${SWIFT:-swift}c" -typecheck -I "$root/opt/tdp/include/tdpmmu" "$tmp/use.swift" >"$tmp/log" 2>&1
verdict $? 'a Swift program that imports CTDPMMU'
# The module map says what to link.
"${SWIFT:-swift}c" -I "$root/opt/tdp/include/tdpmmu" -L "$root/opt/tdp/lib64" -Xlinker -rpath -Xlinker "$root/opt/tdp/lib64" \
    -o "$tmp/use-swift" "$tmp/use.swift" >"$tmp/log" 2>&1 && "$tmp/use-swift" >>"$tmp/log" 2>&1
verdict $? 'a Swift program that is linked by the module map'
rm -f "$tmp/use-swift"
# Both moved together still find each other.
mv "$tmp/root" "$tmp/moved"
"$tmp/moved/opt/tdp/bin/tdpmmuctl" --version >"$tmp/log" 2>&1
verdict $? 'tdpmmuctl in a root that was moved'
mv "$tmp/moved" "$tmp/root"
gone

usable 'paths with blanks' "$tmp/a root" '/opt/my tdp' '/opt/my tdp/my lib'
gone
usable 'slashes at the end' "$tmp/slashes" /opt/tdp/ /opt/tdp/lib64//
gone
deep=/srv/$(printf 'a-very-long-name-of-a-folder/%.0s' $(seq 20))lib
usable 'a library far from its prefix' "$tmp/far" /opt/tdp "$deep"
gone
mkdir -p "$tmp/elsewhere/deep/down"
ln -s "$tmp/elsewhere/deep/down" "$tmp/bin-link"
usable 'no root, and programs behind a link' '' "$tmp/direct" "$tmp/direct/lib" "$tmp/bin-link"
gone

echo "install: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
