#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Replay every recorded kernel trace of the project in both modes; one check each.
set -u
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for trace in traces/*.txt traces/*.txt.gz; do
    case $trace in
    *'*'* | *.npt.txt | *.npt.txt.gz | *-info.txt) continue ;;
    esac
    for mode in --calls --guest; do
        if build/tdpmmuctl replay $mode "$trace" >"$log" 2>&1; then
            passed=$((passed + 1))
        else
            echo "traces: FAILED with $?: $mode $trace" >&2
            tail -n 20 "$log" >&2
            failed=$((failed + 1))
        fi
    done
done
[ $((passed + failed)) -gt 0 ] || { echo "traces: there are none" >&2; failed=1; }
echo "traces: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
