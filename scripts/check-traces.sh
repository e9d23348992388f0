#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Replay every recorded kernel trace of the project in both modes, and what our library
# recorded of itself meanwhile; one check each.  And the recorder, as far as that goes without a machine.
set -u
passed=0
failed=0
folder=$(mktemp -d)
log=$folder/log
trap 'rm -rf "$folder"' EXIT

replay() {
    if build/tdpmmuctl replay "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "traces: FAILED with $?: replay $*" >&2
        tail -n 20 "$log" >&2
        failed=$((failed + 1))
    fi
}

ends() { # STATUS COMMAND...: that is how it ends
    status=0
    wanted=$1
    shift
    "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -eq "$wanted" ]; then
        passed=$((passed + 1))
    else
        echo "traces: FAILED with $status, not $wanted: $*" >&2
        tail -n 20 "$log" >&2
        failed=$((failed + 1))
    fi
}

# Nothing is recorded here, which takes long and many packages, but what would be is sound.
recorder=traces/recorder
ends 0 "${CC:-cc}" -fsyntax-only -Wall -Wextra -Werror $recorder/recorder.c
ends 2 sh $recorder/record.sh
ends 2 sh $recorder/record.sh --no-pml kernel "$folder" 01s_pages:1
ends 2 sh $recorder/record.sh --limit soon kernel "$folder" 01s_pages:1
ends 1 sh $recorder/record.sh "$folder" "$folder/out" 01s_pages:1
ends 0 python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' $recorder/watch.py

# Linux's own code, where it has been built, beside the kernel that was recorded; and what it cannot come through.
linux=build/linux/libtdpmmu.so.1
differs=scripts/traces-linux.txt
on_linux() {
    replay --library "$linux" "$1"
    name=$(basename "$1" | sed 's/\.txt.*//')
    case $(sed -n "s/^$name //p" $differs) in
    '') replay --guest --library "$linux" "$1" ;;
    waits) # It sleeps for the most part of a minute: beside all others.
        (
            status=0
            build/tdpmmuctl replay --guest --library "$linux" "$1" >"$folder/$name.waits" 2>&1 || status=$?
            echo "ended with $status" >>"$folder/$name.waits"
        ) &
        ;;
    *)
        echo "traces: FAILED: $differs: no such reason" >&2
        failed=$((failed + 1))
        ;;
    esac
}

for trace in traces/*.txt traces/*.txt.gz; do
    case $trace in
    *'*'* | *.npt.txt | *.npt.txt.gz | *-info.txt) continue ;;
    esac
    [ ! -f "$linux" ] || on_linux "$trace"
    replay "$trace"
    replay --guest --record "$folder/ours.txt" "$trace"
    replay "$folder/ours.txt"
    replay --guest "$folder/ours.txt"
    rm -f "$folder"/ours.*
done
wait
for log in "$folder"/*.waits; do
    [ -f "$log" ] || continue
    if grep -q 'a change of slots waits for an invalidation' "$log" && [ "$(tail -n 1 "$log")" = 'ended with 1' ]; then
        passed=$((passed + 1))
    else
        echo "traces: FAILED: $differs says otherwise of $(basename "$log" .waits)" >&2
        tail -n 20 "$log" >&2
        failed=$((failed + 1))
    fi
done
[ -f "$linux" ] || echo "traces: none was replayed with Linux's code: there is no $linux (make linux)"
[ $((passed + failed)) -gt 0 ] || { echo "traces: there are none" >&2; failed=1; }
echo "traces: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
