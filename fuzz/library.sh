#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The library for fuzzers: build/libtdpmmu-fuzz.a, whose code counts the edges it takes as libFuzzer wants it (inline
# 8-bit counters, and operands of comparisons).
# Usage: library.sh OUT
# SANITIZE=address in the environment: for a program with that sanitizer, too.
# A program that is linked with it brings what takes the counts: clang -fsanitize=fuzzer, or fuzz/afl.c.
set -eu
usage='library.sh OUT'
. fuzz/asked.sh
out=$1
toolchain=$(sh scripts/toolchain.sh)
scratch=.build-fuzz${SANITIZE:+-$SANITIZE}
objects=$scratch/release/libtdpmmu-objects.a
work=$out.work

# An archive keeps the objects of files that are gone.
rm -f "$objects"
# Of several such words Swift takes the last one alone.
also=${SANITIZE:+-Xswiftc -sanitize=$SANITIZE,fuzzer -Xcc -fsanitize=$SANITIZE}
# SwiftPM would take CC for its own clang.
# shellcheck disable=SC2086
env -u CC "${SWIFT:-swift}" build -c release --traits Embedded --sanitize=fuzzer $also --product tdpmmu-objects \
    --scratch-path "$scratch" -Xswiftc -file-prefix-map -Xswiftc "$PWD=." -Xcc "-ffile-prefix-map=$PWD=."

# One object with the public names alone: what Embedded Swift brings along must not take the place of a runtime's.
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
sed -n 's/^    \([A-Za-z_0-9]*\);$/\1/p' tdpmmu.map >"$work/names"
[ -s "$work/names" ] || { echo "library.sh: tdpmmu.map names nothing" >&2; exit 1; }
sed 's/^/--undefined=/' "$work/names" >"$work/roots"
"$toolchain/bin/ld.lld" -r --gc-sections --force-group-allocation @"$work/roots" -o "$work/tdpmmu-fuzz.o" \
    --whole-archive "$objects" --no-whole-archive
objcopy --keep-global-symbols="$work/names" --remove-section=.swift_modhash --remove-section=.swift1_autolink_entries \
    --remove-section=.llvm_addrsig "$work/tdpmmu-fuzz.o"
rm -f "$out.new"
ar rcsD "$out.new" "$work/tdpmmu-fuzz.o"
mv "$out.new" "$out"
