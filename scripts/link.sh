#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make libtdpmmu.so.1 out of the embedded objects.
# Usage: link.sh ARCHIVE LIBRARY [thread|address|symbols|rig]
# The plain library refuses undefined names and is stripped, its debug
# information kept beside it; a sanitizer's library keeps everything; "symbols"
# keeps names only, since valgrind cannot read all that Swift has to say; "rig" too, for
# the explorer's tables.
# -Bsymbolic-functions, not -Bsymbolic: programs may hold the one copy of the
# variable tdpmmu_rcu_gp, and the library must then use theirs.  -z nodelete: the
# callback thread must not lose its code to a dlclose().  What the compiler leaves in each object for its own
# next run (.swift_modhash) is loaded with the library if it gets as far: out of what ships.  Nor does .eh_frame ship, which
# has a quarter of the functions and so leads no exception and no backtrace through the library; a debugger's is in
# the debug information.
set -eu
archive=$1
library=$2
kind=${3:-} # a sanitizer's runtime comes with the program
clang=$(sh "$(dirname "$0")/toolchain.sh")/bin/clang
soname=libtdpmmu.so.1

mkdir -p "$(dirname "$library")"
if [ -z "$kind" ]; then
    objcopy --remove-section=.swift_modhash --remove-section=.eh_frame --remove-section=.rela.eh_frame "$archive" "$library.a"
    archive=$library.a
fi
set -- -shared -o "$library.new" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    ${LINK_ALSO:-} -fuse-ld=lld -Wl,--error-limit=0 -Wl,--version-script=tdpmmu.map -Wl,-soname,$soname \
    -Wl,-Bsymbolic-functions -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete -lpthread
case $kind in
thread) "$clang" "$@" -O1 -fPIC "$(dirname "$0")/tsan-inout.c" ;;
address) "$clang" "$@" ;;
rig)
    # What the library allocates is put back before each schedule: it comes from the explorer.
    "$clang" "$@" -Wl,--no-undefined -Wl,--as-needed -Wl,--wrap=malloc -Wl,--wrap=free -Wl,--wrap=posix_memalign
    strip --strip-debug "$library.new"
    ;;
symbols)
    "$clang" "$@" -Wl,--no-undefined -Wl,--as-needed
    strip --strip-debug "$library.new"
    ;;
*)
    "$clang" "$@" -Wl,--no-undefined -Wl,--as-needed
    # The linker puts the tables of names of several objects behind each other, which gdb complains of and does not read.
    objcopy --only-keep-debug --remove-section=.debug_names "$library.new" "$library.debug"
    strip --strip-unneeded --remove-section=.comment "$library.new"
    rm "$library.a"
    objcopy --add-gnu-debuglink="$library.debug" "$library.new"
    ;;
esac
mv "$library.new" "$library"
ln -sf "$soname" "$(dirname "$library")/libtdpmmu.so"
