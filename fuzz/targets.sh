#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The four targets, in FOLDER: fuzz_api, fuzz_trace, fuzz_recording, fuzz_list; and their seeds and dictionaries.
# Usage: targets.sh LIBRARY FOLDER
# LIBRARY is what fuzz/library.sh made.  ENGINE in the environment: libfuzzer (without it), or afl: fuzz/afl.c in place of
# libFuzzer, for afl-fuzz.  SANITIZE=address: with that, as the library was made.  ZLIB_FOLDER: where -lz is looked for first.
set -eu
usage='targets.sh LIBRARY FOLDER'
. fuzz/asked.sh
library=$1
folder=$2
toolchain=$(sh scripts/toolchain.sh)
scratch=.build-fuzz-tools${SANITIZE:+-$SANITIZE}
sanitizer=${SANITIZE:+-fsanitize=$SANITIZE}
objects=$scratch/release/libtdpmmu-fuzz-targets.a
compile="$toolchain/bin/clang -std=c11 -g -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude $sanitizer"

rm -f "$objects"
# Of several such words Swift takes the last one alone.
also=${SANITIZE:+-Xswiftc -sanitize=$SANITIZE,fuzzer -Xcc -fsanitize=$SANITIZE}
# shellcheck disable=SC2086
env -u CC "${SWIFT:-swift}" build -c release --sanitize=fuzzer $also --product tdpmmu-fuzz-targets --scratch-path "$scratch" \
    -Xswiftc -file-prefix-map -Xswiftc "$PWD=." -Xcc "-ffile-prefix-map=$PWD=."
mkdir -p "$folder"
case ${ENGINE:-libfuzzer} in
libfuzzer)
    swift_engine=-sanitize=${SANITIZE:+$SANITIZE,}fuzzer
    c_engine=-fsanitize=fuzzer
    ;;
afl)
    $compile -c fuzz/afl.c -o "$folder/afl.o"
    c_engine="$folder/afl.o ${AFL_RUNTIME:-/usr/lib/afl/afl-compiler-rt.o}"
    swift_engine=$c_engine
    ;;
esac
# The linker must keep counters and their table together, and so drop neither.
# shellcheck disable=SC2086
{
    $compile -fsanitize=fuzzer-no-link -DLIBFUZZER -c tests-c/fuzz_api.c -o "$folder/api.o"
    "$toolchain/bin/clang" "$folder/api.o" "$library" -fuse-ld=lld $c_engine $sanitizer -lpthread -o "$folder/fuzz_api"
    for target in trace recording list; do
        $compile -DTARGET=tdpmmu_fuzz_$target -c fuzz/main.c -o "$folder/$target.o"
        lines=
        if [ $target != recording ] && [ "${ENGINE:-libfuzzer}" = libfuzzer ]; then
            lines=$folder/lines.o
            $compile -c fuzz/lines.c -o "$lines"
        fi
        "$toolchain/bin/swiftc" -static-stdlib -use-ld=lld "$folder/$target.o" $lines "$objects" "$library" $swift_engine \
            ${ZLIB_FOLDER:+-L "$ZLIB_FOLDER"} -lz -lpthread \
            -Xlinker -z -Xlinker nostart-stop-gc -o "$folder/fuzz_$target"
        rm -f "$folder/fuzz_$target.autolink"
    done
}
$compile fuzz/seed_recording.c "$library" fuzz/uncounted.c -fuse-ld=lld -lpthread -o "$folder/seed_recording"
rm -rf "$folder/seeds"
python3 fuzz/seeds.py "$folder/seeds" "$folder/seed_recording"
