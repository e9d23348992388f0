#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What a real kernel did, done again by the library and compared.  Each part is a title and a command.
set -eu
ctl=build/tdpmmuctl
[ -x "$ctl" ] || { echo "demo: there is no $ctl: make demo builds it first" >&2; exit 1; }

trace() { # NAME: the file, packed or not
    for file in "traces/$1.txt.gz" "traces/$1.txt"; do
        [ -f "$file" ] && { echo "$file"; return; }
    done
    echo "demo: traces/$1 is missing: git checkout -- traces brings it back" >&2
    exit 1
}

# What the tool has to say of its failure comes first.
part() { # TITLE COMMAND...
    printf '%s\n\n' "$1"
    shift
    "$@" || {
        status=$?
        # 141: whoever reads this has seen enough.
        [ $status -eq 141 ] || echo "demo: '$*' ended with $status" >&2
        exit $status
    }
    echo
}

intel=$(trace 612ept-08s_nx)
aging=$(trace 612ept-noad-07s_aging)
huge=$(trace 612-02_huge2m)
anon=$(trace 612-01_anon4k)
high=$(trace 612-11_longmode_high_gpa)
five=$(trace 612la57-01_anon4k)
library=$(readlink -f build/libtdpmmu.so)
picture=build/demo.html

draw() { # FILE TRACE: not there at all, or whole
    "$ctl" tables --format html "$2" >"$1.new" && mv "$1.new" "$1" && echo "$PWD/$1"
}

part "Traces of Linux 6.12 hosts, four of AMD machines and two of Intel ones, replayed through ${library##*/}:" \
    "$ctl" replay "$anon" "$huge" "$high" "$five" "$intel" "$aging"
part "The page tables at the end of $huge:" \
    "$ctl" dump "$huge"
part "Those of an Intel machine that executes through no huge page, at a dump of $intel:" \
    "$ctl" dump --at 2 "$intel"
part "The first of these as a picture, for a browser:" \
    draw "$picture" "$huge"
