#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Replay every recorded kernel trace of the project in both modes, and what our library
# recorded of itself meanwhile; one check each.
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

for trace in traces/*.txt traces/*.txt.gz; do
    case $trace in
    *'*'* | *.npt.txt | *.npt.txt.gz | *-info.txt) continue ;;
    esac
    replay "$trace"
    replay --guest --record "$folder/ours.txt" "$trace"
    replay "$folder/ours.txt"
    replay --guest "$folder/ours.txt"
    rm -f "$folder"/ours.*
done
[ $((passed + failed)) -gt 0 ] || { echo "traces: there are none" >&2; failed=1; }
echo "traces: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
