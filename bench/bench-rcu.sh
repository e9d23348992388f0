#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and run the RCU benchmark.  Usage: bench-rcu.sh [REPETITIONS [ROW...]]
set -eu
out=build/bench
cc=${CC:-cc}
flags='-std=gnu11 -O2 -g -Wall -Wextra -Werror -Iinclude'
mkdir -p $out
if ! echo '#include <urcu/urcu-memb.h>' | $cc -E -x c - >/dev/null 2>&1; then
    echo 'bench-rcu: skipped: there is no <urcu/urcu-memb.h>, which liburcu-dev has'
    exit 0
fi
objects=
for side in TDPMMU TDPMMU_EXPORTED MEMB MEMB_EXPORTED BP QSBR; do
    $cc $flags -DSIDE_$side -c bench/rcu_side.c -o $out/side_$side.o
    objects="$objects $out/side_$side.o"
done
for part in bench_rcu quiet; do
    $cc $flags -c bench/$part.c -o $out/$part.o
done
$cc $out/bench_rcu.o $out/quiet.o $objects -o $out/bench_rcu -Lbuild -Wl,-rpath,"\$ORIGIN/.." -ltdpmmu \
    -lurcu-memb -lurcu-bp -lurcu-qsbr -lpthread
exec $out/bench_rcu "$@"
