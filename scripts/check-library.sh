#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What the shipped file may be: small, on libc alone, frugal with thread-local memory, silent about where it was built.
# Usage: check-library.sh LIBRARY BUILD_DIRECTORY
set -u
library=$1
directory=$2
limit_bytes=300000
limit_thread_local_bytes=512
passed=0
failed=0

verdict() { # TEXT, with $? of the test before
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "library: FAILED: $2" >&2
    fi
}

size=$(wc -c <"$library")
[ "$size" -lt $limit_bytes ]
verdict $? "$library has $size bytes, allowed are fewer than $limit_bytes"

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needed" = libc.so.6 ]
verdict $? "it needs other libraries than libc: $needed"

others=$(ldd "$library" | grep -vE 'linux-vdso|libc\.so|ld-linux')
[ -z "$others" ]
verdict $? "ldd names: $others"

readelf -d "$library" | grep -q '(SONAME).*\[libtdpmmu\.so\.1\]'
verdict $? "its soname is not libtdpmmu.so.1"

! readelf -d "$library" | grep -qE '\((RPATH|RUNPATH|TEXTREL)\)'
verdict $? "it has a run path or text relocations"

readelf -lW "$library" | grep -q 'GNU_STACK.*RW '
verdict $? "its stack is executable"

# Of static thread-local memory there is little for all libraries that are loaded later.
thread_local=$(readelf -lW "$library" | awk '$1 == "TLS" { print $6 }')
[ -n "$thread_local" ] && [ $((thread_local)) -le $limit_thread_local_bytes ]
verdict $? "it takes ${thread_local:-an unknown number of} bytes of thread-local memory, allowed are $limit_thread_local_bytes"

! strings -a "$library" | grep -qF -e "$directory" -e "${HOME:-/nowhere}/" -e "$(sh scripts/toolchain.sh)/"
verdict $? "it contains a path of the machine that built it"

! nm -D --undefined-only "$library" | grep -qE ' (swift_|\$s|__tsan|__asan)'
verdict $? "it wants a Swift runtime or a sanitizer"

# A program's own functions in front of the C library's would run with the library's locks held.
! nm -D --undefined-only "$library" | grep -qE ' (mmap|mmap64|munmap|mprotect|madvise|mremap)(@|$)'
verdict $? "it maps memory by functions of the C library's: Sources/CPlatform/memory.c"

echo "library: $passed passed, $failed failed ($size bytes)"
[ "$failed" -eq 0 ]
