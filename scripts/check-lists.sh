#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Lists of operations (docs/LISTS.md): those of tests-lists/ must come to the results that stand in
# them, with our library and, if that can be had (make linux), with Linux's own code; random ones must
# come to the same with both.
# Usage: check-lists.sh [COUNT [SEED]]   (10000 random lists, a seed of the day)
set -u
count=${1:-10000}
seed=${2:-$(date +%Y%m%d)}
tool=build/tdpmmuctl
linux=build/linux/libtdpmmu.so.1
passed=0
failed=0
suite=lists
. scripts/same.sh
a_count LISTS "$count"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Built anew: an old one would be compared with what it was built of.  That there is no source is no failure.
python3 linux/build.py .build-embedded/release/libtdpmmu-objects.a >"$log" 2>&1
case $? in
0) ;;
3)
    linux=
    why=$(grep '^make linux: ' "$log" | tail -n 1)
    ;;
*)
    linux=
    why='it could not be built'
    echo "lists: FAILED: make linux" >&2
    tail -n 20 "$log" >&2
    failed=1
    ;;
esac

for list in tests-lists/*.ops; do
    same "$list" --list "$list"
    [ -z "$linux" ] || same "$list, Linux's code" --library "$linux" --list "$list"
done
# That a comparison sees nothing where there is nothing: a library that depends on the process it is in would differ.
same 'our library beside itself' --with build/libtdpmmu.so.1 --lists 30 --seed "$seed"

if [ -n "$linux" ]; then
    echo "lists: $count random lists of seed $seed, our library beside Linux's code"
    same "$count random lists" --with "$linux" --lists "$count" --seed "$seed"
    sed -n '1,/^all /p' "$log"
else
    echo "lists: no random list was compared with Linux's code: $why"
fi
echo "lists: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
