#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What the shipped file may be: small, on libc alone, frugal with thread-local memory, silent about where it was built.
# Usage: check-library.sh LIBRARY BUILD_DIRECTORY
set -u
library=$1
directory=$2
limit_bytes=300000
limit_thread_local_bytes=512
glibc_limit=2.34 # docs/PACKAGING.md and tdpmmu.spec say so
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

# Where HARDENING_CFLAGS= took these out, it is not the library that is installed.
readelf -nW "$library" | grep -q 'Build ID: [0-9a-f]\{40\}'
verdict $? "it has no build-id"

[ "$(readelf -nW "$library" | sed -n 's/.*Build ID: //p')" = "$(readelf -nW "$library.debug" | sed -n 's/.*Build ID: //p')" ]
verdict $? "its debug information has another build-id"

nm -D --undefined-only "$library" | grep -q '__stack_chk_fail' && nm -D --undefined-only "$library" | grep -q '_chk@'
verdict $? "its C was compiled without a stack protector, or without _FORTIFY_SOURCE"

readelf -nW "$library" | grep -q 'x86 feature:.*SHSTK'
verdict $? "it does not say that it leaves the shadow stack alone"

readelf -dW "$library" | grep -q 'BIND_NOW' && readelf -lW "$library" | grep -q GNU_RELRO
verdict $? "it is not bound at load, or what is not to be changed can be"

glibc=$(readelf -VW "$library" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
[ "$(printf 'GLIBC_%s\n%s\n' $glibc_limit "$glibc" | sort -V | tail -n 1)" = GLIBC_$glibc_limit ]
verdict $? "it needs $glibc, promised is GLIBC_$glibc_limit: $(readelf --dyn-syms -W "$library" | grep "$glibc" | awk '{ print $8 }' | tr '\n' ' ')"

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

echo "library: $passed passed, $failed failed ($size bytes, glibc ${glibc#GLIBC_} or newer)"
[ "$failed" -eq 0 ]
