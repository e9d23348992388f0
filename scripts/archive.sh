#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make libtdpmmu.a out of the embedded objects: one object, of which only the names of tdpmmu.map can be seen, and
# which needs libc and no runtime of Swift's.
# Usage: archive.sh ARCHIVE OUT
# The toolchain's linker drops what no exported name leads to: the objects hold what several modules emitted, and
# references that only dead code has.  What stays keeps its section per function, so a program's --gc-sections
# can drop more.  Names of other libraries that need a Swift runtime are an error here, not in a user's link.
set -eu
archive=$1
out=$2
bin=$(sh "$(dirname "$0")/toolchain.sh")/bin
objcopy=${OBJCOPY:-objcopy}
work=$out.work

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
sed -n 's/^    \([A-Za-z_0-9]*\);$/\1/p' tdpmmu.map >"$work/names"
[ -s "$work/names" ] || { echo "archive.sh: tdpmmu.map names nothing" >&2; exit 1; }
sed 's/^/--undefined=/' "$work/names" >"$work/roots"
# A group that another object may take part in would be dropped for a namesake's.
"$bin/ld.lld" -r --gc-sections --force-group-allocation -z noexecstack @"$work/roots" -o "$work/tdpmmu.o" \
    --whole-archive "$archive" --no-whole-archive
"$objcopy" --keep-global-symbols="$work/names" --strip-debug --remove-section=.swift_modhash \
    --remove-section=.swift1_autolink_entries --remove-section=.linker-options --remove-section=.llvm_addrsig \
    --remove-section=.comment "$work/tdpmmu.o"
"${STRIP:-strip}" --strip-unneeded "$work/tdpmmu.o"
wanted=$("${NM:-nm}" --undefined-only "$work/tdpmmu.o" | awk '{ print $2 }' |
    grep -E '^(swift_|\$s|\$e|__tsan|__asan|cp_|arc4random)' || true)
[ -z "$wanted" ] || { echo "archive.sh: the objects want what no C library has: $wanted" >&2; exit 1; }
rm -f "$out.new"
"${AR:-ar}" rcsD "$out.new" "$work/tdpmmu.o"
mv "$out.new" "$out"
