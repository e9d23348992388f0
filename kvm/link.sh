#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make libtdpmmu-kvm.so out of the embedded objects.
# Usage: link.sh ARCHIVE LIBRARY
# It finds libtdpmmu and the engine beside itself.  -z nodelete: its symbols stand in front of libc's.
set -eu
archive=$1
library=$2
here=$(dirname "$0")
clang=$(sh "$here/../scripts/toolchain.sh")/bin/clang

"$clang" -shared -o "$library.new" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive -fuse-ld=lld \
    -Wl,--version-script="$here/tdpmmu-kvm.map" -Wl,-soname,libtdpmmu-kvm.so -Wl,--gc-sections \
    -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete -Wl,--no-undefined -Wl,--as-needed \
    -L"$(dirname "$library")" -ltdpmmu -lpthread -ldl -Wl,-rpath,'$ORIGIN'
strip --strip-unneeded "$library.new"
mv "$library.new" "$library"
