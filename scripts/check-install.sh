#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install into a folder of its own, use what is there as a stranger would, and
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
        echo "install: FAILED: $2" >&2
        [ ! -s "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
    fi
}
root=$tmp/root
mk() { make --no-print-directory "$1" DESTDIR="$root" PREFIX=/opt/tdp LIBDIR=/opt/tdp/lib64 >"$tmp/log" 2>&1; }
pc() { PKG_CONFIG_LIBDIR=$root/opt/tdp/lib64/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root pkg-config "$@" tdpmmu; }

mkdir -p "$root/opt/tdp/include"
echo mine >"$root/opt/tdp/include/mine.h"
mk install
verdict $? 'make install'

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
: >"$tmp/log"
# shellcheck disable=SC2046
${CC:-cc} -Wall -Werror "$tmp/use.c" -o "$tmp/use" $(pc --cflags) $(pc --libs) >"$tmp/log" 2>&1
verdict $? 'a program compiled with what pkg-config says'

out=$(LD_LIBRARY_PATH=$root/opt/tdp/lib64 "$tmp/use" 2>&1)
[ "$out" = "$(pc --modversion)" ]
verdict $? "the program said '$out', pkg-config says '$(pc --modversion)'"

# The tool finds the installed library by itself, and not the one in build/.
ldd "$root/opt/tdp/bin/tdpmmuctl" 2>/dev/null | grep -q "$root/opt/tdp/.*libtdpmmu.so.1"
verdict $? 'tdpmmuctl does not find the installed library'
"$root/opt/tdp/bin/tdpmmuctl" --help >"$tmp/log" 2>&1
verdict $? 'tdpmmuctl --help'

! grep -rqF "$PWD" "$root"
verdict $? "an installed file names the build directory: $(grep -rlF "$PWD" "$root")"

# The module map is for Swift and clang: does it name files that are there?
missing=$(sed -n 's/.*header "\(.*\)".*/\1/p' "$root/opt/tdp/include/tdpmmu/module.modulemap" |
    while read -r h; do [ -f "$root/opt/tdp/include/tdpmmu/$h" ] || echo "$h"; done)
[ -z "$missing" ]
verdict $? "the module map names $missing"

printf 'import CTDPMMU\nlet vm: UnsafeMutablePointer<kvm>? = tdpmmu_create_vm(nil)\ntdpmmu_destroy_vm(vm)\n' >"$tmp/use.swift"
"${SWIFT:-swift}c" -typecheck -I "$root/opt/tdp/include/tdpmmu" "$tmp/use.swift" >"$tmp/log" 2>&1
verdict $? 'a Swift program that imports CTDPMMU'

mk uninstall
verdict $? 'make uninstall'
left=$(cd "$root" && find . -type f -o -type l)
[ "$left" = ./opt/tdp/include/mine.h ]
verdict $? "after uninstall there is: $left"

echo "install: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
