#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Operations that are written with the names of tdpmmu/kernel.h, beside ours: the examples of examples/patch_operations.h,
# and Linux's own, compiled as they stand (linux/bodies.py).  Lists of operations (docs/LISTS.md) must come to the
# same with both, on twin VMs: SPTEs, results, changes, flushes.  Half of the random lists give way at every entry.
# Usage: check-bodies.sh [COUNT [SEED]]   (3000 random lists of each, a seed of the day)
set -u
count=${1:-3000}
seed=${2:-$(date +%Y%m%d)}
tool=build/tdpmmuctl
objects=.build-embedded/release/libtdpmmu-objects.a
passed=0
failed=0
suite=bodies
. scripts/same.sh
a_count BODY_LISTS "$count"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

half=$(((count + 1) / 2))
compare() { # LIBRARY
    for list in tests-lists/*.ops; do
        same "$list" --library "$1" --list "$list"
    done
    echo "bodies: $1: $half random lists of seed $seed, and $half that give way at every entry"
    same "$half random lists" --with "$1" --lists "$half" --seed "$seed"
    same "$half random lists that give way at every entry" --with "$1" --lists "$half" --seed "$((seed + 1))" --yield 1
}

built() { # LIBRARY ARGUMENT...: builds it and compares, or says why there is none
    library=$1
    shift
    python3 linux/bodies.py "$@" "$objects" >"$log" 2>&1
    case $? in
    0)
        grep '^make bodies: ' "$log"
        compare "$library"
        ;;
    3) echo "bodies: no list was compared with Linux's own operations: $(grep '^make bodies: ' "$log" | tail -n 1)" ;;
    *)
        tail -n 20 "$log" >&2
        echo "bodies: FAILED: $library" >&2
        failed=$((failed + 1))
        ;;
    esac
}

built build/bodies-patch/libtdpmmu.so.1 --patch
built build/bodies/libtdpmmu.so.1
echo "bodies: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
