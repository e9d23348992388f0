#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Replay every recorded kernel trace of the project; one check per trace.
set -u
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for trace in traces/*.txt traces/*.txt.gz; do
    case $trace in
    *'*'* | *.npt.txt | *.npt.txt.gz | *-info.txt) continue ;;
    esac
    if build/tdpmmuctl replay "$trace" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "traces: FAILED with $?: $trace" >&2
        tail -n 20 "$log" >&2
        failed=$((failed + 1))
    fi
done
[ $((passed + failed)) -gt 0 ] || { echo "traces: there are none" >&2; failed=1; }
echo "traces: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
