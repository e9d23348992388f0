#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What a real kernel did, done again by the library and compared.
set -eu
ctl=build/tdpmmuctl
trace() { # NAME: the file, packed or not
    for file in "traces/$1.txt.gz" "traces/$1.txt"; do
        [ -f "$file" ] && { echo "$file"; return; }
    done
    echo "demo: traces/$1 is missing" >&2
    exit 1
}
intel=$(trace 612ept-08s_nx)
aging=$(trace 612ept-noad-07s_aging)
huge=$(trace 612-02_huge2m)
anon=$(trace 612-01_anon4k)
high=$(trace 612-11_longmode_high_gpa)
five=$(trace 612la57-01_anon4k)

printf 'Traces of Linux 6.12 hosts, four of AMD machines and two of Intel ones, replayed through %s:\n\n' "$(readlink -f build/libtdpmmu.so | xargs basename)"
$ctl replay "$anon" "$huge" "$high" "$five" "$intel" "$aging"
printf '\nThe page tables at the end of %s:\n\n' "$huge"
$ctl dump "$huge"
printf '\nThose of an Intel machine that executes through no huge page, at a dump of %s:\n\n' "$intel"
$ctl dump --at 2 "$intel"
