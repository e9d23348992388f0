#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Lists of operations (docs/LISTS.md): those of tests-lists/ must come to the results that stand in
# them, with our library and, where its source can be had, with Linux's own code; random ones must come to
# the same with both.
# Usage: check-lists.sh [COUNT [SEED]]   (10000 random lists, a seed of the day)
set -u
count=${1:-10000}
seed=${2:-$(date +%Y%m%d)}
tool=build/tdpmmuctl
linux=build/linux/libtdpmmu.so.1
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# NAME ARGUMENT...: a comparison that must find nothing.
same() {
    name=$1
    shift
    if "$tool" compare "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "lists: FAILED with $?: $name: tdpmmuctl compare $*" >&2
        tail -n 60 "$log" >&2
        failed=$((failed + 1))
    fi
}

python3 linux/build.py .build-embedded/release/libtdpmmu-objects.a
case $? in
0) ;;
3) ;; # no source: it has said why; a library made earlier is as good
*) failed=$((failed + 1)) ;;
esac

for list in tests-lists/*.ops; do
    same "$list" --list "$list"
    [ ! -f "$linux" ] || same "$list, Linux's code" --library "$linux" --list "$list"
done
# That a comparison sees nothing where there is nothing: a library that depends on the process it is in would differ.
same 'our library beside itself' --with build/libtdpmmu.so.1 --lists 30 --seed "$seed"

if [ -f "$linux" ]; then
    echo "lists: $count random lists of seed $seed, our library beside Linux's code"
    same "$count random lists" --with "$linux" --lists "$count" --seed "$seed"
    sed -n '1,/^all /p' "$log"
else
    echo "lists: no random list was compared with Linux's code: there is no $linux (make linux)"
fi
echo "lists: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
