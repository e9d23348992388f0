#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Linux's own operations, compiled as they stand against tdpmmu/kernel.h (linux/bodies.py), beside ours: lists of
# operations (docs/LISTS.md) must come to the same with both, on twin VMs: SPTEs, results, changes, flushes.
# Half of the random lists give way at every entry where they may.
# Usage: check-bodies.sh [COUNT [SEED]]   (3000 random lists, a seed of the day)
set -u
count=${1:-3000}
seed=${2:-$(date +%Y%m%d)}
tool=build/tdpmmuctl
bodies=build/bodies/libtdpmmu.so.1
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

python3 linux/bodies.py .build-embedded/release/libtdpmmu-objects.a >"$log" 2>&1
case $? in
0) grep '^make bodies: ' "$log" ;;
3)
    echo "bodies: skipped: $(grep '^make bodies: ' "$log" | tail -n 1)"
    exit 0
    ;;
*)
    tail -n 20 "$log" >&2
    echo "bodies: 0 passed, 1 failed"
    exit 1
    ;;
esac

# NAME ARGUMENT...: a comparison that must find nothing.
same() {
    name=$1
    shift
    if "$tool" compare "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "bodies: FAILED with $?: $name: tdpmmuctl compare $*" >&2
        tail -n 60 "$log" >&2
        failed=$((failed + 1))
    fi
}

for list in tests-lists/*.ops; do
    same "$list" --library "$bodies" --list "$list"
done
half=$(((count + 1) / 2))
echo "bodies: $half random lists of seed $seed, and $half that give way at every entry"
same "$half random lists" --with "$bodies" --lists "$half" --seed "$seed"
same "$half random lists that give way at every entry" --with "$bodies" --lists "$half" --seed "$((seed + 1))" --yield 1
echo "bodies: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
