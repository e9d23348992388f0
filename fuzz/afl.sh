#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# One target by AFL++'s afl-fuzz: afl.sh TARGET [SECONDS]; TARGET is api, trace, recording or list.
# Without SECONDS it goes on until it is ended.  What it found is in build/fuzz-afl/found/TARGET.
set -eu
cd "$(dirname "$0")/.."
target=${1:-}
seconds=${2:-}
folder=build/fuzz-afl
runtime=${AFL_PATH:-/usr/lib/afl}/afl-compiler-rt.o
case $target in
api | trace | recording | list) ;;
*) echo "afl.sh: TARGET is api, trace, recording or list, and not '$target'" >&2; exit 2 ;;
esac
case $seconds in
*[!0-9]*) echo "afl.sh: SECONDS is a number, and not '$seconds'" >&2; exit 2 ;;
esac
command -v afl-fuzz >/dev/null || { echo "afl.sh: there is no afl-fuzz: apt-get install afl++" >&2; exit 1; }
[ -f "$runtime" ] || { echo "afl.sh: there is no $runtime: AFL_PATH names AFL++'s folder" >&2; exit 1; }

make --no-print-directory fuzz-lib
ENGINE=afl AFL_RUNTIME=$runtime sh fuzz/targets.sh build/libtdpmmu-fuzz.a "$folder"
mkdir -p "$folder/found"
words=
[ ! -f "$folder/seeds/$target.dict" ] || words="-x $folder/seeds/$target.dict"
# shellcheck disable=SC2086
AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 AFL_AUTORESUME=1 \
    afl-fuzz -i "$folder/seeds/$target" -o "$folder/found/$target" -t 5000 ${seconds:+-V "$seconds"} $words -- "$folder/fuzz_$target"
